"""Manifests: how a study runs on clusters of several kinds. Data, without code."""
