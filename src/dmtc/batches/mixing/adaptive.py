"""A mixer that pastes labelled pixels where the teacher is uncertain."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dmtc.batches.mixing import masks
from dmtc.batches.mixing.base import MIXERS, Mixer
from dmtc.core.registry import raise_faults
from dmtc.core.types import IGNORE_INDEX, Batch


@MIXERS.register("adaptive")
@dataclass(frozen=True, kw_only=True)
class AdaptiveMix(Mixer):
    """Pastes a rectangle of a partner, after pasting labelled pixels into it if the teacher is uncertain about it.

    The partners are a random order of the batch, in which a row may be its own. A partner receives a rectangle of a
    labelled image with a probability of 1 minus the teacher's confidence in the partner (see `image_confidence`). What
    it receives is seen only in the rectangle that it gives.

    Attributes:
        num_classes: Number of classes C.
        labelled: The two parameters of the Beta distribution of the share of an image that the rectangle of a labelled
            image leaves. Drawn once for the batch.
        unlabelled: The same for the rectangle of the partner.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        AugSeg. Deviation: ignored pixels do not count in an image's confidence.
    """

    num_classes: int
    labelled: list[float]
    unlabelled: list[float]

    def __post_init__(self) -> None:
        options = {"labelled": self.labelled, "unlabelled": self.unlabelled}
        raise_faults(
            [
                f"mixing.{name} should be two positive parameters of a Beta distribution, but is {value}"
                for name, value in options.items()
                if len(value) != 2 or not all(0 < each < float("inf") for each in value)
            ]
        )

    @property
    def uses_labelled(self) -> bool:
        """Always."""
        return True

    @property
    def needs(self) -> frozenset[str]:
        """The entropy, for the confidence of a whole image."""
        return frozenset({"entropy"})

    def mix(self, own: Batch, extra: Batch | None, labelled: Batch | None, rng: np.random.Generator) -> Batch:
        """Paste both rectangles. The entropy of human labels is 0; logits are dropped, as there are none of these."""
        if labelled is None or not labelled.ids:
            raise ValueError("mixing=adaptive needs labelled rows in the step")
        count, size = len(own.ids), own.image.shape[-2:]
        order = rng.permutation(count).tolist()
        draws = masks.moved(rng.random(count).astype(np.float32), own.image.device)
        unsure = draws > image_confidence(own, self.num_classes)
        given = masks.centered_boxes(rng, count, size, 1 - rng.beta(self.labelled[0], self.labelled[1]))
        boxes = masks.centered_boxes(rng, count, size, 1 - rng.beta(self.unlabelled[0], self.unlabelled[1]))
        return pasted_twice(own, labelled, order, unsure, given, boxes)


def image_confidence(batch: Batch, num_classes: int) -> Tensor:
    """How sure the teacher is of each image: the mean of confidence * (1 - entropy / log C) over its valid pixels.

    Returns:
        float32 (B,), in [0, 1]; 0 for an image without a valid pixel.
    """
    if batch.entropy is None:
        raise ValueError("the confidence of an image needs the teacher's entropy")
    valid = batch.label != IGNORE_INDEX
    score = batch.confidence * (1 - batch.entropy / math.log(max(num_classes, 2)))
    return score.where(valid, 0).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)


def pasted_twice(
    own: Batch, labelled: Batch, order: list[int], unsure: Tensor, given: masks.Boxes, boxes: masks.Boxes
) -> Batch:
    """Paste a part of each row's partner; some partners have received labelled pixels before.

    Args:
        own: (B, ...).
        labelled: Any number of rows; if they are fewer than B, they are used several times.
        order: The partner of each row, in `own` and in `labelled`.
        unsure: Bool (B,), the rows that receive labelled pixels.
        given: (B, 4), the rectangle of labelled pixels of each row that receives some.
        boxes: (B, 4), the rectangle of each row that its partner fills.
    """
    size, device = own.image.shape[-2:], own.image.device
    sources = labelled.ordered([row % len(labelled.ids) for row in order])
    if own.entropy is not None and sources.entropy is None:
        sources = replace(sources, entropy=torch.zeros_like(own.entropy))
    received = own.pasted(masks.inside(given, size, device) & unsure[:, None, None], sources)
    return own.pasted(masks.inside(boxes, size, device), received.ordered(order))
