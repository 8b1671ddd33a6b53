"""Augmentation of training crops."""

from dmtc.data.augment.colors import COLORS, Color, Drawn
from dmtc.data.augment.geometry import Augment

__all__ = ["COLORS", "Augment", "Color", "Drawn"]
