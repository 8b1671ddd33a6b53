"""Processing requests: from files to one sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch

from dmtc.batches.requests import CropRequest, ImageRequest, Request
from dmtc.core.errors import DataError, UserError
from dmtc.core.randomness import generator_of
from dmtc.core.types import Sample
from dmtc.data.augment import Augment
from dmtc.data.dataset import Dataset, size_text
from dmtc.pseudo.store import PseudoLabels

OnError = Literal["stop", "skip"]
"""What to do about an unusable training image (`dataset.on_error`)."""

_Read = TypeVar("_Read")


def on_error_faults(dataset: Mapping[str, Any]) -> list[str]:
    """Faults of `on_error` in a data set's settings."""
    if "on_error" not in dataset:
        return ["dataset.on_error is missing: stop or skip"]
    value = dataset["on_error"]
    return [] if value in get_args(OnError) else [f"dataset.on_error should be stop or skip, but is {value!r}"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of a request.

    Attributes:
        sample: The sample, or the error that stops the run; None if an image was skipped without a substitute.
        skipped: Ids of unusable images, each with its error.
    """

    sample: Sample | UserError | None
    skipped: tuple[tuple[str, str], ...] = ()


class Reader(torch.utils.data.Dataset[Reading]):
    """Processes requests in the loader's processes.

    Errors in files are returned as values, because an exception raised in a loader process arrives with that process's
    traceback instead of a single line.
    """

    def __init__(self, dataset: Dataset, augment: Augment, on_error: OnError = "stop") -> None:
        self.dataset = dataset
        self.augment = augment
        self.on_error: OnError = on_error

    def __getitem__(self, request: Request) -> Reading:
        """Read one sample and augment it if it is for training."""
        try:
            return Reading(self._read(request))
        except _Unusable as fault:
            # Evaluation images are never replaced, as scores must be of the images they name.
            if self.on_error == "skip" and not (isinstance(request, ImageRequest) and request.with_mask):
                return self._skip(request, fault.error)
            return Reading(fault.error)
        except UserError as error:
            return Reading(error)

    def _skip(self, request: Request, error: UserError) -> Reading:
        """Read a substitute; the request names it, so it does not depend on the process."""
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
            DataError(f"{len(skipped)} images in a row cannot be used despite dataset.on_error=skip: {error}"),
            tuple(skipped),
        )

    def _read(self, request: Request) -> Sample:
        match request:
            case ImageRequest(id, with_mask=True):
                return _usable(self.dataset.sample, id)
            case ImageRequest(id):
                return Sample(id, _usable(self.dataset.image, id), label=np.empty((0, 0), np.uint8))
            case CropRequest(id, PseudoLabels() as pseudo_labels, address):
                image = _usable(self.dataset.image, id)
                label, level = pseudo_labels.read_all(id)
                if label.shape != image.shape[:2]:
                    raise DataError(
                        f"{self.dataset.images[id]} is {size_text(image.shape)} pixels but its pseudo-label"
                        f" is {size_text(label.shape)}: the image has changed; delete {pseudo_labels.folder} and resume"
                    )
                crop = self.augment(Sample(id, image, label, level), generator_of(*address))
                assert crop.level is not None, "augment keeps the level"
                # After cropping, as a crop has fewer pixels than its image.
                return replace(crop, label=pseudo_labels.select(crop.label, crop.level))
            case CropRequest(id, _, address, labelled=False):
                image = _usable(self.dataset.image, id)
                crop = self.augment(Sample(id, image, np.zeros(image.shape[:2], np.uint8)), generator_of(*address))
                return replace(crop, level=np.zeros(crop.label.shape, np.uint16))
            case CropRequest(id, _, address):
                return self.augment(_usable(self.dataset.sample, id), generator_of(*address))


def _usable(read: Callable[[str], _Read], id: str) -> _Read:
    try:
        return read(id)
    except UserError as error:
        raise _Unusable(error) from error


class _Unusable(Exception):
    """The error is in a file of the data set, not in one written by the run."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.error = error
