"""The few values that travel between the parts. They import nothing of ours.

Axis letters used throughout: B batch, C classes, D embedding channels, H W pixels, h w cells of a feature map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IGNORE_INDEX = 255
"""Label value of a pixel that is neither trained on nor scored."""

Stage = Literal["start", "rounds"]
"""Which phases: those of the supervised start, or those of the rounds."""

UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label, as read from disk or after augmentation.

    Attributes:
        id: The image's name in its data set.
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), class index or `IGNORE_INDEX`; (0, 0) of a whole image that is read without its mask.
        level: uint16 (H, W), the teacher's confidence in its label as a level of `dmtc.pseudo.level_confidence`; None
            where a person labelled.
    """

    id: str
    image: UInt8Array
    label: UInt8Array
    level: UInt16Array | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one size, as a training step or an evaluation sees them.

    Attributes:
        image: uint8 (B, 3, H, W), RGB; the model normalizes.
        label: int64 (B, H, W), class index or `IGNORE_INDEX`; uint8 until the batch is on its device. (B, 0, 0) of
            whole images that are read without their masks.
        confidence: float32 (B, H, W) in [0, 1], 1 where a person labelled. The loader's processes hand over levels
            instead, int16, and (B, 1, 1) of them if a person labelled all images.
        is_pseudo: bool (B,), true where the label is a pseudo-label.
        ids: The images' names.
    """

    image: Tensor
    label: Tensor
    confidence: Tensor
    is_pseudo: Tensor
    ids: tuple[str, ...]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with each of its tensors changed in the same way."""
        return Batch(change(self.image), change(self.label), change(self.confidence), change(self.is_pseudo), self.ids)

    def take(self, which: slice) -> "Batch":
        """Some of its images."""
        return replace(self.map(lambda tensor: tensor[which]), ids=self.ids[which])

    @classmethod
    def cat(cls, batches: Sequence["Batch"]) -> "Batch":
        """All images of several batches of one size."""
        image, label, confidence, is_pseudo = (
            torch.cat([getattr(batch, name) for batch in batches])
            for name in ("image", "label", "confidence", "is_pseudo")
        )
        return cls(image, label, confidence, is_pseudo, tuple(id for batch in batches for id in batch.ids))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU do not block; called by the loader."""
        return self.map(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, with the label as int64."""
        moved = self.map(lambda tensor: tensor.to(device, non_blocking=True))
        return replace(moved, label=moved.label.long())


@dataclass(frozen=True, slots=True)
class Maps:
    """A model's output at its output stride.

    Attributes:
        logits: (B, C, h, w).
        embedding: (B, D, h, w) for the contrastive loss, or None if the model has no projection head.
    """

    logits: Tensor
    embedding: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Everything a loss may ask for. A loss names the fields it wants as its parameters and gets those.

    Attributes:
        logits: (B, C, h, w) with gradient, at the model's output stride.
        embedding: (B, D, h, w) with gradient, or None.
        label: int64 (B, H, W), class index or `IGNORE_INDEX`.
        confidence: float32 (B, H, W) in [0, 1].
        is_pseudo: bool (B,).
        generator: Source of the loss's random draws, on the device of the maps, addressed by seed, phase and step.
    """

    logits: Tensor
    embedding: Tensor | None
    label: Tensor
    confidence: Tensor
    is_pseudo: Tensor
    generator: torch.Generator

    @classmethod
    def of(cls, maps: Maps, batch: Batch, generator: torch.Generator) -> "StepInputs":
        """What a network makes of a batch, with the batch's labels."""
        return cls(maps.logits, maps.embedding, batch.label, batch.confidence, batch.is_pseudo, generator)


@dataclass(frozen=True, slots=True)
class LossValue:
    """What a loss returns.

    Attributes:
        loss: Scalar with gradient, always finite for finite inputs.
        logs: Detached scalars worth showing, by name; they stay on the device until they are logged.
    """

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
