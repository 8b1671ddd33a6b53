"""What the masks of the labelled images hold of each class."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """What the masks of the labelled images hold of each class; ignored pixels count nowhere.

    Attributes:
        masks: Number of masks.
        pixels: Number of pixels of each class, C of them.
        images: Number of masks that hold a pixel of each class, C of them.
    """

    masks: int
    pixels: list[int]
    images: list[int]
