"""Readers of corpora, one a family of formats; all yield the same flat rows."""
