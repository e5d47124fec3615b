"""Runs of edits on one model, measured at each edit and at the end, several side by side."""
