"""Carrying requests out: from files to one sample."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch

from dmtc.batches.requests import CropRequest, ImageRequest, Request
from dmtc.data.augment import Augment
from dmtc.data.dataset import Dataset, size_text
from dmtc.errors import DataError, UserError
from dmtc.pseudo.store import PseudoLabels
from dmtc.randomness import generator_of
from dmtc.types import IGNORE_INDEX, Sample

OnError = Literal["stop", "skip"]
"""What becomes of a training image that cannot be used (`dataset.on_error`)."""


def on_error_faults(dataset: Mapping[str, Any]) -> list[str]:
    """What is wrong with `on_error` of a data set's settings; runs from before there was a choice have none."""
    value = dataset.get("on_error", "stop")
    return [] if value in get_args(OnError) else [f"dataset.on_error should be stop or skip, but is {value!r}"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a request.

    Attributes:
        sample: What was read, or the fault that stops the run; None where an image was skipped without a substitute.
        skipped: Images that could not be used, each with its fault.
    """

    sample: Sample | UserError | None
    skipped: tuple[tuple[str, str], ...] = ()


class Reader(torch.utils.data.Dataset[Reading]):
    """Carries requests out; this is what the loader's processes hold.

    A fault in a file is handed over as a value: raised in a loader's process, it would arrive with that process's
    traceback in place of its one line.
    """

    def __init__(self, dataset: Dataset, augment: Augment, on_error: OnError = "stop") -> None:
        self.dataset = dataset
        self.augment = augment
        self.on_error: OnError = on_error

    def __getitem__(self, request: Request) -> Reading:
        """Read one sample from disk, and augment it if it is for training."""
        try:
            return Reading(self._read(request))
        except _Unusable as fault:
            # What scores a network is never exchanged: the scores would be of other images than they say.
            if self.on_error == "skip" and not (isinstance(request, ImageRequest) and request.with_mask):
                return self._skip(request, fault.error)
            return Reading(fault.error)
        except UserError as error:
            return Reading(error)

    def _skip(self, request: Request, error: UserError) -> Reading:
        """Read a substitute. It is named by the request, so the same one is read whatever process does it."""
        skipped = [(request.id, str(error))]
        if isinstance(request, ImageRequest):
            return Reading(None, tuple(skipped))
        for id in request.substitutes:
            try:
                return Reading(self._read(replace(request, id=id)), tuple(skipped))
            except _Unusable as fault:
                skipped.append((id, str(fault.error)))
            except UserError as other:
                return Reading(other, tuple(skipped))
        return Reading(
            DataError(f"{len(skipped)} images in a row cannot be used in spite of dataset.on_error=skip: {error}"),
            tuple(skipped),
        )

    def _read(self, request: Request) -> Sample:
        match request:
            case ImageRequest(id, with_mask=True):
                return self._of_dataset(id, masked=True)
            case ImageRequest(id):
                return self._of_dataset(id, masked=False)
            case CropRequest(id, PseudoLabels() as pseudo_labels, address):
                unlabelled = self._of_dataset(id, masked=False)
                label, confidence = pseudo_labels.read(id)
                if label.shape != unlabelled.label.shape:
                    raise DataError(
                        f"{self.dataset.images[id]} is {size_text(unlabelled.label.shape)} pixels but its pseudo-label"
                        f" is {size_text(label.shape)}: the image has changed; delete {pseudo_labels.folder} and resume"
                    )
                sample = replace(unlabelled, label=label, confidence=confidence)
                return replace(self.augment(sample, generator_of(*address)), is_pseudo=True)
            case CropRequest(id, _, address):
                return self.augment(self._of_dataset(id, masked=True), generator_of(*address))

    def _of_dataset(self, id: str, masked: bool) -> Sample:
        try:
            if masked:
                return self.dataset.sample(id)
            image = self.dataset.image(id)
        except UserError as error:
            raise _Unusable(error) from error
        size = image.shape[:2]
        return Sample(id, image, np.full(size, IGNORE_INDEX, np.uint8), np.zeros(size, np.float32))


class _Unusable(Exception):
    """A file of the data set is at fault, and not one that the run has written."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.error = error
