"""From image ids to batches: which images a step sees, how they are read, and the processes that read them.

A request names one image and everything that decides what comes of it: its label's source and the address of its random
choices. Requests are made in the main process and carried out anywhere, so the number of loader processes changes
nothing, and one pool of processes serves training, labelling and evaluation of all phases.
"""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from dmtc.data.augment import Augment
from dmtc.data.dataset import Dataset, size_text
from dmtc.errors import DataError, UserError
from dmtc.interruption import leave_signals_to_the_parent
from dmtc.pseudo.store import PseudoLabels
from dmtc.randomness import generator_of
from dmtc.schedule import Phase
from dmtc.types import IGNORE_INDEX, Batch, Sample

log = logging.getLogger(__name__)

OnError = Literal["stop", "skip"]
"""What becomes of a training image that cannot be used (`dataset.on_error`)."""

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


class _Requests:
    """The requests at hand: the pool asks for them anew in each pass.

    Not the loader itself, as that would hold the pool that holds it: left to the garbage collector, a pool cannot tell
    its processes to end, and waits five seconds for each.
    """

    def __init__(self) -> None:
        self.requests: Iterable[Sequence[Request]] = ()

    def __iter__(self) -> Iterator[Sequence[Request]]:
        return iter(self.requests)


class Loader:
    """Reads batches for a whole run.

    Args:
        dataset: Where ids are looked up.
        augment: How crops are made.
        workers: Processes that read; 0 reads in this one.
        device: Where batches go.
        on_error: "skip" takes another image for a training image that cannot be used, warns once, and counts; "stop"
            raises. Validation images always stop.
    """

    def __init__(
        self, dataset: Dataset, augment: Augment, workers: int, device: torch.device, on_error: OnError = "stop"
    ) -> None:
        self._device = device
        self._skipped: Counter[str] = Counter()
        self._told: set[str] = set()
        self._at_hand = _Requests()
        self._loader = DataLoader(
            Reader(dataset, augment, on_error),
            batch_sampler=self._at_hand,  # pyright: ignore[reportArgumentType]  # it is only iterated
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            collate_fn=_collate,
            worker_init_fn=_set_up_worker,
        )

    def crops(self, steps: Iterable[Sequence[CropRequest]]) -> Iterator[Batch]:
        """One training batch for each step's requests, in their order."""
        return self._read(steps)

    def images(self, ids: Sequence[str], batch_size: int, with_mask: bool) -> Iterator[Batch]:
        """Whole images in order, up to `batch_size` neighbors of one size at a time.

        Without masks every label is `IGNORE_INDEX`, and no mask is opened; images that cannot be read are left out if
        faulty ones are skipped.
        """
        starts = range(0, len(ids), batch_size)
        return self._read([[ImageRequest(id, with_mask) for id in ids[i : i + batch_size]] for i in starts])

    def _read(self, requests: Iterable[Sequence[Request]]) -> Iterator[Batch]:
        rest = iter(requests)
        issued: deque[Sequence[Request]] = deque()  # to the processes, and not read yet

        def issue() -> Iterator[Sequence[Request]]:
            yield from list(issued)
            for request in rest:
                issued.append(request)
                yield request

        interrupted = True
        while interrupted:
            interrupted = False
            self._at_hand.requests = pass_at_hand = issue()
            for read in self._loader:
                issued.popleft()
                yield from self._batches_of(read)
                # Scoring in the middle of a phase takes the pool over, and with it what the processes had read ahead.
                if interrupted := self._at_hand.requests is not pass_at_hand:
                    break

    def _batches_of(self, read: "_Read") -> Iterator[Batch]:
        for id, fault in read.skipped:
            self._skipped[id] += 1
            if id not in self._told:
                self._told.add(id)
                log.warning("skipped: %s", fault)
        if read.error is not None:
            raise read.error
        for batch in read.batches:
            yield batch.to(self._device)

    def take_skipped(self) -> dict[str, int]:
        """How often each image was skipped since this was asked for the last time, by id."""
        taken = dict(sorted(self._skipped.items()))
        self._skipped.clear()
        return taken


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


def on_error_faults(dataset: Mapping[str, Any]) -> list[str]:
    """What is wrong with `on_error` of a data set's settings; runs from before there was a choice have none."""
    value = dataset.get("on_error", "stop")
    return [] if value in get_args(OnError) else [f"dataset.on_error should be stop or skip, but is {value!r}"]


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


@dataclass(frozen=True, slots=True)
class _Read:
    """What came of the requests that belong together."""

    batches: list[Batch]
    error: UserError | None
    skipped: list[tuple[str, str]]

    def pin_memory(self) -> "_Read":
        return replace(self, batches=[batch.pin_memory() for batch in self.batches])


def _collate(readings: list[Reading]) -> _Read:
    """Stack neighbors of one size; training crops always give one batch."""
    samples = [reading.sample for reading in readings if isinstance(reading.sample, Sample)]
    errors = [reading.sample for reading in readings if isinstance(reading.sample, UserError)]
    groups = groupby(samples, key=lambda sample: sample.image.shape)
    return _Read(
        batches=[] if errors else [_stack(list(group)) for _, group in groups],
        error=errors[0] if errors else None,
        skipped=[skip for reading in readings for skip in reading.skipped],
    )


def _stack(samples: list[Sample]) -> Batch:
    return Batch(
        image=torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2),
        label=torch.from_numpy(np.stack([sample.label for sample in samples])),
        confidence=torch.from_numpy(np.stack([sample.confidence for sample in samples])),
        is_pseudo=torch.tensor([sample.is_pseudo for sample in samples]),
        ids=tuple(sample.id for sample in samples),
    )


def _set_up_worker(worker: int) -> None:
    # One process a worker is enough; OpenCV's own threads would only fight with the other workers.
    cv2.setNumThreads(0)
    leave_signals_to_the_parent()
