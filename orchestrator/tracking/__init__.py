"""Mirrors of a study for people: losing one loses nothing."""
