"""Which images a step sees, and how they are augmented."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dmtc.core.randomness import generator_of
from dmtc.pseudo.store import PseudoLabels
from dmtc.schedule import Phase

SUBSTITUTES = 8
"""How many images are tried in place of one that cannot be used; if all fail, it is not the fault of single files."""


@dataclass(frozen=True, slots=True)
class CropRequest:
    """One augmented crop for training.

    Attributes:
        id: The image.
        pseudo_labels: Where its label comes from; None means its mask.
        address: Address of the augmentation's random choices.
        substitutes: Images to take in this one's place if it cannot be used and faulty ones are skipped; in this order.
    """

    id: str
    pseudo_labels: PseudoLabels | None
    address: tuple[object, ...]
    substitutes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One whole image, with its mask or (for labelling) without ever opening one."""

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
    """The requests of each step of a phase from step `start` on, pseudo-labelled images first.

    Both kinds of images are gone through in epochs of their own, each a fresh permutation; batches run over the end of
    an epoch, so that all of them are full.
    """
    labelled_stream = _Epochs(labelled, (seed, phase.name, "labelled"))
    pseudo_stream = _Epochs(unlabelled, (seed, phase.name, "pseudo")) if pseudo_labels is not None else None
    for step in range(start, phase.steps):
        requests: list[CropRequest] = []
        if pseudo_stream is not None:
            requests += pseudo_stream.requests(step, phase.pseudo_batch, pseudo_labels)
        yield requests + labelled_stream.requests(step, phase.labelled_batch, None)


class _Epochs:
    """An endless sequence of ids: position p lies in epoch p // n, whose order depends on its address alone."""

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
        # The next ones of this epoch's order, at its end the first ones.
        id, *substitutes = (self._ids[int(place)] for place in self._following(index))
        return CropRequest(id, pseudo_labels, (*self._address, epoch, index), tuple(substitutes))

    def _following(self, index: int) -> np.ndarray:
        count = len(self._order)
        return self._order[np.arange(index, index + min(count, 1 + SUBSTITUTES)) % count]
