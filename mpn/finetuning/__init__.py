"""Base classifiers: any encoder, trained on a corpus with ``transformers.Trainer``."""
