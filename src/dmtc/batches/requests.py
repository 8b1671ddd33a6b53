"""The images of each step, and their augmentation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

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
        pseudo_labels: Source of its label; None means its mask.
        address: Address of the augmentation's random numbers.
        substitutes: Images to try in this order if this one is unusable and `on_error` is "skip".
    """

    id: str
    pseudo_labels: PseudoLabels | None
    address: tuple[object, ...]
    substitutes: tuple[str, ...] = ()


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
) -> Iterator[list[CropRequest]]:
    """The requests of each step of a phase from step `start`, pseudo-labelled images first.

    Labelled and pseudo-labelled images have separate epochs, each a new permutation; batches cross epoch boundaries, so
    all are full.
    """
    labelled_stream = _Epochs(labelled, (seed, phase.name, "labelled"))
    pseudo_stream = _Epochs(unlabelled, (seed, phase.name, "pseudo")) if pseudo_labels is not None else None
    for step in range(start, phase.steps):
        requests: list[CropRequest] = []
        if pseudo_stream is not None:
            requests += pseudo_stream.requests(step, phase.pseudo_batch, pseudo_labels)
        yield requests + labelled_stream.requests(step, phase.labelled_batch, None)


class _Epochs:
    """An endless sequence of ids: position p is in epoch p // n, whose order depends only on its address."""

    def __init__(self, ids: Sequence[str], address: tuple[object, ...]) -> None:
        self._ids = ids
        self._address = address
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, int)

    def requests(self, step: int, count: int, pseudo_labels: PseudoLabels | None) -> list[CropRequest]:
        return [self._request(step * count + slot, pseudo_labels) for slot in range(count)]

    def _request(self, position: int, pseudo_labels: PseudoLabels | None) -> CropRequest:
        epoch, index = divmod(position, len(self._ids))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = generator_of(*self._address, epoch, "order").permutation(len(self._ids))
        # Substitutes are the next images of the epoch, wrapping around at its end.
        id, *substitutes = (self._ids[int(i)] for i in self._following(index))
        return CropRequest(id, pseudo_labels, (*self._address, epoch, index), tuple(substitutes))

    def _following(self, index: int) -> np.ndarray:
        count = len(self._order)
        return self._order[np.arange(index, index + min(count, 1 + SUBSTITUTES)) % count]
