"""Editors that are trained first: a network turns the gradient of an edit into its change."""
