"""Augmentation of training crops."""

from dmtc.data.augment.colors import COLORS, Color, Drawn
from dmtc.data.augment.geometry import Augment
from dmtc.data.augment.rescale import Rescale

__all__ = ["COLORS", "Augment", "Color", "Drawn", "Rescale"]
