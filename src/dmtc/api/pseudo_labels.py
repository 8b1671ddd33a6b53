"""The pseudo-labels of a phase, read image by image."""

from collections.abc import Sequence
from typing import overload

from dmtc.core.types import Float32Array
from dmtc.data import Dataset
from dmtc.pseudo import PseudoLabel, PseudoLabels


class PhasePseudoLabels(Sequence[PseudoLabel]):
    """The pseudo-labels a phase learns from, one entry per unlabelled image; a slice has some of the images.

    Examples:
        >>> import dmtc
        >>> labels = dmtc.Run.load("outputs/first").pseudo_labels("r1-a")
        >>> labels[-2:].ids == labels.ids[-2:]
        True
    """

    def __init__(self, dataset: Dataset, ids: Sequence[str], labels: PseudoLabels) -> None:
        self.dataset = dataset
        self.ids = ids
        self.labels = labels

    @property
    def thresholds(self) -> Float32Array:
        """Minimum confidence at which each class is kept: float32 (C,), 0 for a class kept entirely."""
        return self.labels.confidences

    def __len__(self) -> int:
        """Number of unlabelled images."""
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> PseudoLabel: ...

    @overload
    def __getitem__(self, index: slice) -> "PhasePseudoLabels": ...

    def __getitem__(self, index: int | slice) -> "PseudoLabel | PhasePseudoLabels":
        """The image, its pseudo-label (255: not kept), its confidence, and the truth if known; nothing else is read."""
        if isinstance(index, slice):
            return PhasePseudoLabels(self.dataset, self.ids[index], self.labels)
        return self.of(self.ids[index])

    def of(self, id: str) -> PseudoLabel:
        """Like indexing, but by the image's id."""
        label, confidence = self.labels.read(id)
        truth = self.dataset.mask(id) if id in self.dataset.masks else None
        return PseudoLabel(id, self.dataset.image(id), label, confidence, truth)
