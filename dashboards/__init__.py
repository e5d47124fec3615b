"""Figures and reports over the results of a study."""
