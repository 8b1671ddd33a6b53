"""The few types that are passed between rooms.

Axis letters used throughout: B batch, C classes, D embedding channels, H W pixels, h w cells of a feature map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IGNORE_INDEX = 255
"""Label of pixels that are excluded from training and scoring."""

Stage = Literal["start", "rounds", "online"]
"""Kind of phase: part of the supervised start, part of the rounds, or one long phase whose teacher labels its steps."""

UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label, as read from disk or after augmentation.

    Attributes:
        id: The image's name in its data set.
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), class index or `IGNORE_INDEX`; (0, 0) for a whole image that is read without its mask.
        level: uint16 (H, W), the teacher's confidence as a level of `dmtc.pseudo.level_confidence`; None for a human
            label.
    """

    id: str
    image: UInt8Array
    label: UInt8Array
    level: UInt16Array | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of the images of a batch by one labeller.

    Attributes:
        label: int64 (B, H, W), class index or `IGNORE_INDEX`.
        confidence: float32 (B, H, W) in [0, 1].
    """

    label: Tensor
    confidence: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "Labels":
        """Apply `change` to both."""
        return Labels(change(self.label), change(self.confidence))


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one size, as used by a training step or an evaluation.

    Attributes:
        image: uint8 (B, 3, H, W), RGB; the model normalizes.
        label: int64 (B, H, W), class index or `IGNORE_INDEX`; uint8 until the batch is on its device. (B, 0, 0) for
            whole images that are read without their masks. In images that a teacher has yet to label: 0, and
            `IGNORE_INDEX` in the padding of the crop.
        confidence: float32 (B, H, W) in [0, 1], 1 for human labels. Dataloader workers pass int16 levels instead,
            (B, 1, 1) if all labels of the batch are human.
        is_pseudo: bool (B,), true where the label is a pseudo-label.
        ids: Image names.
        entropy: float32 (B, H, W), in nats, of the teacher's probabilities; 0 for human labels. None unless needed.
        logits: float32 (B, C, H, W), the teacher's, at the size of the images. None unless needed.
        second: Labels of the same images by a second labeller. None unless needed.
        regions: Bool (B, R, H, W), regions of alike pixels without what is pasted from others. None unless needed.
    """

    image: Tensor
    label: Tensor
    confidence: Tensor
    is_pseudo: Tensor
    ids: tuple[str, ...]
    entropy: Tensor | None = None
    logits: Tensor | None = None
    second: Labels | None = None
    regions: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Apply `change` to each tensor of the batch."""
        entropy, logits = (None if each is None else change(each) for each in (self.entropy, self.logits))
        image, label, confidence = change(self.image), change(self.label), change(self.confidence)
        second = None if self.second is None else self.second.map(change)
        regions = None if self.regions is None else change(self.regions)
        return Batch(image, label, confidence, change(self.is_pseudo), self.ids, entropy, logits, second, regions)

    def take(self, which: slice) -> "Batch":
        """Select a slice of the images."""
        return replace(self.map(lambda tensor: tensor[which]), ids=self.ids[which])

    def ordered(self, rows: Sequence[int]) -> "Batch":
        """The images in another order, or some of them; an image may occur several times."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.image.device)
        return replace(self.map(lambda tensor: tensor.index_select(0, index)), ids=tuple(self.ids[row] for row in rows))

    def pasted(self, mask: Tensor, other: "Batch") -> "Batch":
        """The batch with the pixels where `mask`, bool (B, H, W), is true taken from another one, all maps alike."""

        def mixed(own: Tensor | None, theirs: Tensor | None) -> Tensor | None:
            if own is None or theirs is None:
                return None
            return theirs.where(mask if own.dim() == mask.dim() else mask[:, None], own)

        maps = ("image", "label", "confidence", "entropy", "logits")
        pasted = replace(self, **{name: mixed(getattr(self, name), getattr(other, name)) for name in maps})
        if self.regions is not None:
            pasted = replace(pasted, regions=self.regions & ~mask[:, None])
        if self.second is None:
            return pasted
        theirs = other.second or Labels(other.label, other.confidence)
        label, confidence = theirs.label.where(mask, self.second.label), theirs.confidence
        return replace(pasted, second=Labels(label, confidence.where(mask, self.second.confidence)))

    def seconded(self) -> "Batch":
        """The batch with the second labels in place of the first."""
        assert self.second is not None, "a batch of two labellers"
        return replace(self, label=self.second.label, confidence=self.second.confidence, second=None)

    @classmethod
    def cat(cls, batches: Sequence["Batch"]) -> "Batch":
        """Concatenate batches of one image size; maps that any of them lacks are left out."""
        if len(batches) == 1:
            return batches[0]
        image, label, confidence, is_pseudo = (
            torch.cat([getattr(batch, name) for batch in batches])
            for name in ("image", "label", "confidence", "is_pseudo")
        )
        names = ("entropy", "logits", "regions")
        entropy, logits, regions = (_cat([getattr(batch, name) for batch in batches]) for name in names)
        ids = tuple(id for batch in batches for id in batch.ids)
        return cls(image, label, confidence, is_pseudo, ids, entropy, logits, regions=regions)

    def pin_memory(self) -> "Batch":
        """Move the batch to page-locked memory, for non-blocking copies to a GPU; the dataloader calls this."""
        return self.map(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """Move the batch to a device and cast the label to int64."""
        moved = self.map(lambda tensor: tensor.to(device, non_blocking=True))
        return replace(moved, label=moved.label.long())


def _cat(maps: Sequence[Tensor | None]) -> Tensor | None:
    present = [each for each in maps if each is not None]
    return torch.cat(present) if len(present) == len(maps) else None


@dataclass(frozen=True, slots=True)
class Maps:
    """A model's output at its output stride.

    Attributes:
        logits: (B, C, h, w).
        embedding: (B, D, h, w) for the contrastive loss, or None if the model has no projection head.
        correlated: (B, C, g, k), the logits spread by the correlation of the g k cells of the deepest map, or None if
            the model has no correlation head.
        alike: (B, g k, g k), in each row the distribution over the cells that a cell is like, or None.
    """

    logits: Tensor
    embedding: Tensor | None = None
    correlated: Tensor | None = None
    alike: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The maps that there are, by name."""
        named = {name: getattr(self, name) for name in ("logits", "embedding", "correlated", "alike")}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def take(self, rows: slice) -> "Maps":
        """The maps of some rows."""
        return Maps(**{name: tensor[rows] for name, tensor in self.tensors.items()})

    @classmethod
    def cat(cls, parts: Sequence["Maps"]) -> "Maps":
        """Concatenate maps; those that any part lacks are left out."""
        names = [name for name in parts[0].tensors if all(name in part.tensors for part in parts)]
        return cls(**{name: torch.cat([part.tensors[name] for part in parts]) for name in names})


class Together(Protocol):
    """The processes that take a step together, each with some rows of the batch (see `dmtc.machine.processes`)."""

    size: int

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        ...

    def gather_rows(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, in the order of the whole batch."""
        ...


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Everything that a loss can take. A loss receives the fields that it names as parameters.

    Attributes:
        logits: (B, C, h, w) with gradient, at the model's output stride.
        embedding: (B, D, h, w) with gradient, or None.
        label: int64 (B, H, W), class index or `IGNORE_INDEX`.
        confidence: float32 (B, H, W) in [0, 1].
        is_pseudo: bool (B,).
        generator: For the loss's random draws; on the device of the maps, seeded by run seed, phase and step.
        entropy: float32 (B, H, W), in nats, of the teacher's probabilities, or None.
        teacher_logits: float32 (B, C, H, W) without gradient, or None.
        progress: The done share of the phase, in [0, 1).
        processes: The processes whose rows together are the batch; None for a single one.
        teacher_maps: The teacher's maps of the images that the student sees, without gradient; None without a teacher
            within the step.
        regions: Bool (B, R, H, W), regions of alike pixels of the images, or None.
        spread: (B, C, g, k), the logits spread by the correlation of cells, or None.
    """

    logits: Tensor
    embedding: Tensor | None
    label: Tensor
    confidence: Tensor
    is_pseudo: Tensor
    generator: torch.Generator
    entropy: Tensor | None = None
    teacher_logits: Tensor | None = None
    progress: float = 0.0
    processes: Together | None = None
    teacher_maps: Maps | None = None
    regions: Tensor | None = None
    spread: Tensor | None = None

    @classmethod
    def of(
        cls,
        maps: Maps,
        batch: Batch,
        generator: torch.Generator,
        progress: float = 0.0,
        processes: Together | None = None,
        teacher_maps: Maps | None = None,
    ) -> "StepInputs":
        """Combine a network's output with the labels of its batch."""
        return cls(
            maps.logits,
            maps.embedding,
            batch.label,
            batch.confidence,
            batch.is_pseudo,
            generator,
            batch.entropy,
            batch.logits,
            progress,
            processes,
            teacher_maps,
            batch.regions,
            maps.correlated,
        )

    def correlated(self) -> "StepInputs":
        """The same with the logits that the correlation of cells has spread."""
        assert self.spread is not None, "the network has a correlation head"
        return replace(self, logits=self.spread)


@dataclass(frozen=True, slots=True)
class LossValue:
    """What a loss returns.

    Attributes:
        loss: Scalar with gradient, always finite for finite inputs.
        logs: Detached scalars to log, by name; they stay on the device until they are logged.
        divisor: Detached scalar, what a sum over rows was divided by; parts of a batch, in several processes or with
            gradient accumulation, count by it. None: the number of pixels with a label.
    """

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    divisor: Tensor | None = None
