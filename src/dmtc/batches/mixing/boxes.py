"""Mixers that paste rectangles."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from dmtc.batches.mixing import masks
from dmtc.batches.mixing.base import MIXERS, probability_faults
from dmtc.batches.mixing.partners import Pasting
from dmtc.core.registry import raise_faults
from dmtc.core.types import Batch


@MIXERS.register("cutmix")
@dataclass(frozen=True, kw_only=True)
class CutMix(Pasting):
    """Pastes a rectangle of random area and shape; see `free_boxes`.

    Attributes:
        probability: Of an image to receive one.
        area: Smallest and largest share of the image.
        aspect: Smallest and largest ratio of height to width.
        partner: See `Pasting`.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        UniMatch (`partner: same_image`, which is what its loaders amount to) and UniMatch V2 (`partner: reversed`).
    """

    probability: float
    area: list[float]
    aspect: list[float]

    def __post_init__(self) -> None:
        raise_faults(probability_faults(self.probability) + masks.box_faults(self.area, self.aspect))

    def mask(self, own: Batch, rng: np.random.Generator) -> Tensor:
        """At most one rectangle in each image."""
        size = own.image.shape[-2:]
        boxes = masks.free_boxes(rng, len(own.ids), size, self.area, self.aspect)
        return masks.inside(masks.at_times(boxes, self.probability, rng), size, own.image.device)


@MIXERS.register("half_box")
@dataclass(frozen=True, kw_only=True)
class HalfBox(Pasting):
    """Pastes a rectangle of half the image's area; see `half_boxes`.

    Attributes:
        probability: Of an image to receive one.
        per: Whether that is drawn for each `image` or once for the whole `batch`.
        partner: See `Pasting`.

    Raises:
        ConfigError: The probability is out of range.

    Source:
        CutMix of ReCo's mean teacher (always) and of U2PL (`probability: 0.5, per: batch`).
    """

    probability: float
    per: Literal["image", "batch"]

    def __post_init__(self) -> None:
        raise_faults(probability_faults(self.probability))

    def mask(self, own: Batch, rng: np.random.Generator) -> Tensor:
        """At most one rectangle in each image."""
        size = own.image.shape[-2:]
        boxes = masks.half_boxes(rng, len(own.ids), size)
        boxes = masks.at_times(boxes, self.probability, rng, together=self.per == "batch")
        return masks.inside(boxes, size, own.image.device)


@MIXERS.register("three_boxes")
@dataclass(frozen=True, kw_only=True)
class ThreeBoxes(Pasting):
    """Pastes what lies in an odd number of several rectangles; see `box_groups`.

    Attributes:
        count: Rectangles in each image.
        area: Smallest and largest share of the image that all of them would have without overlap.
        partner: See `Pasting`.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        CPS with CutMix. Deviation: its two batches hold the same images by mistake; `other_batch` is another one.
    """

    count: int
    area: list[float]

    def __post_init__(self) -> None:
        faults = []
        if self.count < 1:
            faults.append(f"mixing.count should be at least 1, but is {self.count}")
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] <= 1:
            faults.append(f"mixing.area should be a minimum and maximum in (0, 1], but is {self.area}")
        raise_faults(faults)

    def mask(self, own: Batch, rng: np.random.Generator) -> Tensor:
        """The pixels in an odd number of rectangles."""
        size = own.image.shape[-2:]
        boxes = masks.box_groups(rng, len(own.ids), size, self.count, self.area)
        return masks.inside(boxes, size, own.image.device).sum(1) % 2 == 1
