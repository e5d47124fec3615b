"""Corpora by machine translation: models, checks of what they say, and review by people."""
