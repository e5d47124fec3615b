"""Trials asked of Optuna: planned cells and sampled ones."""
