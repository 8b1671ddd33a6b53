"""Changes of color for strong views. Importing this package registers all of them in `COLORS`."""

from dmtc.data.augment.colors.base import COLORS, Color, Drawn
from dmtc.data.augment.colors.jitter import Jitter
from dmtc.data.augment.colors.random_choice import RandomChoice

__all__ = ["COLORS", "Color", "Drawn", "Jitter", "RandomChoice"]
