"""Corpora: examples in parallel languages, aligned by id, with labels and splits."""
