"""Classifiers from the hub, split at a feed-forward layer."""

from mpn.backbones.backbone import Backbone, Positions, Prefix

__all__ = ["Backbone", "Positions", "Prefix"]
