"""A mixer that takes pixels away."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dmtc.batches.mixing import masks
from dmtc.batches.mixing.base import MIXERS, Mixer, probability_faults
from dmtc.core.registry import raise_faults
from dmtc.core.types import IGNORE_INDEX, Batch, Labels


@MIXERS.register("cutout")
@dataclass(frozen=True, kw_only=True)
class CutOut(Mixer):
    """Removes a rectangle: its label is ignored and its confidence 0.

    Attributes:
        probability: Of an image to lose one.
        area: Smallest and largest share of the image (see `free_boxes`), or null for exactly half (see `half_boxes`).
        aspect: Smallest and largest ratio of height to width, if an area is given.
        fill: Whether the rectangle becomes black, or noise: every value of every pixel uniform.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        ReCo's mean teacher; ST++ with `probability: 0.5, area: [0.02, 0.4], fill: noise`.
    """

    probability: float
    area: list[float] | None
    aspect: list[float]
    fill: Literal["black", "noise"]

    def __post_init__(self) -> None:
        area = [masks.MAX_AREA, masks.MAX_AREA] if self.area is None else self.area
        raise_faults(probability_faults(self.probability) + masks.box_faults(area, self.aspect))

    def mix(self, own: Batch, extra: Batch | None, labelled: Batch | None, rng: np.random.Generator) -> Batch:
        """Remove at most one rectangle of each row."""
        count, size = len(own.ids), own.image.shape[-2:]
        if self.area is None:
            boxes = masks.half_boxes(rng, count, size)
        else:
            boxes = masks.free_boxes(rng, count, size, self.area, self.aspect, keep_area=False)
        return without(own, masks.at_times(boxes, self.probability, rng), rng if self.fill == "noise" else None)


def without(batch: Batch, boxes: masks.Boxes, noise: np.random.Generator | None = None) -> Batch:
    """A batch without one rectangle of each row, (B, 4), which becomes black, or noise if a generator is given."""
    gone = masks.inside(boxes, batch.image.shape[-2:], batch.image.device)
    filling = torch.zeros_like(batch.image)
    if noise is not None:
        draws = noise.integers(0, 256, tuple(batch.image.shape), np.uint8)
        filling = masks.moved(draws, batch.image.device).to(batch.image.dtype)
    own, second = _without(Labels(batch.label, batch.confidence), gone), batch.second
    return replace(
        batch,
        image=filling.where(gone[:, None], batch.image),
        label=own.label,
        confidence=own.confidence,
        second=None if second is None else _without(second, gone),
    )


def _without(labels: Labels, gone: Tensor) -> Labels:
    return Labels(labels.label.masked_fill(gone, IGNORE_INDEX), labels.confidence.masked_fill(gone, 0))
