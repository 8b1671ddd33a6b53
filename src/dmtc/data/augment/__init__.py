"""Augmentation of training crops."""

from dmtc.data.augment.geometry import Augment

__all__ = ["Augment"]
