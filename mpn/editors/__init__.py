"""Editors: each computes a change that makes a model say what an edit asks."""
