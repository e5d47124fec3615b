"""The embedded corpus and base model: a small world of facts in six languages."""
