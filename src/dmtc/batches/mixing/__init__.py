"""Mixing of the images of a batch. Importing this package registers all mixers in `MIXERS`."""

from dmtc.batches.mixing.adaptive import AdaptiveMix
from dmtc.batches.mixing.base import MIXERS, Mixer, NoMixing
from dmtc.batches.mixing.boxes import CutMix, HalfBox, ThreeBoxes
from dmtc.batches.mixing.classes import ClassMix
from dmtc.batches.mixing.cutout import CutOut
from dmtc.batches.mixing.partners import Pasting, partner_rows

__all__ = [
    "MIXERS",
    "AdaptiveMix",
    "ClassMix",
    "CutMix",
    "CutOut",
    "HalfBox",
    "Mixer",
    "NoMixing",
    "Pasting",
    "ThreeBoxes",
    "partner_rows",
]
