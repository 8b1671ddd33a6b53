"""The images of each step, and their augmentation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dmtc.batches.mixing.base import ExtraRows
from dmtc.core.randomness import generator_of
from dmtc.pseudo.store import PseudoLabels
from dmtc.schedule import Phase

SUBSTITUTES = 8
"""Number of substitutes tried for an unusable image; if all fail, the problem is not with single files."""


@dataclass(frozen=True, slots=True)
class CropRequest:
    """One augmented crop for training.

    Attributes:
        id: The image.
        pseudo_labels: Source of its label; None means its mask, or no label.
        address: Address of the augmentation's random numbers.
        substitutes: Images to try in this order if this one is unusable and `on_error` is "skip".
        labelled: Whether it has a label; otherwise its mask is not opened, and a teacher labels it in the step.
    """

    id: str
    pseudo_labels: PseudoLabels | None
    address: tuple[object, ...]
    substitutes: tuple[str, ...] = ()
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One whole image with its mask, or without opening the mask (for labelling)."""

    id: str
    with_mask: bool


Request = CropRequest | ImageRequest


def training_requests(
    phase: Phase,
    labelled: Sequence[str],
    unlabelled: Sequence[str],
    pseudo_labels: PseudoLabels | None,
    seed: int,
    start: int = 0,
    extra: ExtraRows | None = None,
) -> Iterator[list[CropRequest]]:
    """The requests of each step of a phase from step `start`: unlabelled images, their partners, labelled images.

    Labelled and unlabelled images have separate epochs, each a new permutation; batches cross epoch boundaries, so all
    are full.
    """
    labelled_stream = _Epochs(labelled, (seed, phase.name, "labelled"), None, has_label=True)
    streams = []
    if phase.pseudo_batch:
        label = pseudo_labels is not None
        streams.append(_Epochs(unlabelled, (seed, phase.name, "pseudo"), pseudo_labels, label))
        if extra == "same_image":
            streams.append(_Epochs(unlabelled, (seed, phase.name, "pseudo"), pseudo_labels, label, crop="other crop"))
        elif extra == "other_batch":
            streams.append(_Epochs(unlabelled, (seed, phase.name, "other batch"), pseudo_labels, label))
    for step in range(start, phase.steps):
        requests = [request for stream in streams for request in stream.requests(step, phase.pseudo_batch)]
        yield requests + labelled_stream.requests(step, phase.labelled_batch)


class _Epochs:
    """An endless sequence of ids: position p is in epoch p // n, whose order depends only on its address."""

    def __init__(
        self,
        ids: Sequence[str],
        address: tuple[object, ...],
        pseudo_labels: PseudoLabels | None,
        has_label: bool,
        crop: str | None = None,
    ) -> None:
        self._ids = ids
        self._address = address
        self._pseudo_labels = pseudo_labels
        self._has_label = has_label
        self._crop = () if crop is None else (crop,)
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, int)

    def requests(self, step: int, count: int) -> list[CropRequest]:
        return [self._request(step * count + slot) for slot in range(count)]

    def _request(self, position: int) -> CropRequest:
        epoch, index = divmod(position, len(self._ids))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = generator_of(*self._address, epoch, "order").permutation(len(self._ids))
        # Substitutes are the next images of the epoch, wrapping around at its end.
        id, *substitutes = (self._ids[int(i)] for i in self._following(index))
        address = (*self._address, epoch, index, *self._crop)
        return CropRequest(id, self._pseudo_labels, address, tuple(substitutes), self._has_label)

    def _following(self, index: int) -> np.ndarray:
        count = len(self._order)
        return self._order[np.arange(index, index + min(count, 1 + SUBSTITUTES)) % count]
