"""The pool of loader processes, and the batches they return."""

import logging
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from dmtc.batches.ahead import one_ahead
from dmtc.batches.by_size import group_by_size
from dmtc.batches.requests import CropRequest, ImageRequest, Request
from dmtc.batches.samples import OnError, Reader, Reading
from dmtc.core.errors import UserError
from dmtc.core.levels import CERTAIN, level_confidence
from dmtc.core.types import Batch, Sample
from dmtc.data.augment import Augment
from dmtc.data.dataset import Dataset
from dmtc.machine.interruption import leave_signals_to_the_parent

log = logging.getLogger(__name__)


class _CurrentRequests:
    """The current requests, which the pool iterates once per pass.

    Separate from the loader to avoid a reference cycle: a pool freed by the garbage collector cannot stop its processes
    and waits five seconds for each.
    """

    def __init__(self) -> None:
        self.requests: Iterable[Sequence[Request]] = ()

    def __iter__(self) -> Iterator[Sequence[Request]]:
        return iter(self.requests)


class Loader:
    """Reads all batches of a run.

    Args:
        dataset: Source of images and masks by id.
        augment: Makes training crops.
        workers: Number of loader processes; 0 reads in the main process, whole images in a thread, one batch ahead.
        device: Device of the batches.
        on_error: "skip" replaces unusable training images by others, warns once per image and counts; "stop" raises.
            Unusable validation images always raise.
    """

    def __init__(
        self, dataset: Dataset, augment: Augment, workers: int, device: torch.device, on_error: OnError = "stop"
    ) -> None:
        self._device = device
        self._confidences = torch.from_numpy(level_confidence()).to(device)
        self._skipped: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._current = _CurrentRequests()
        # Loader processes read ahead by themselves.
        self._reads_ahead = workers == 0 and device.type != "cuda"
        self._loader = DataLoader(
            Reader(dataset, augment, on_error),
            batch_sampler=self._current,  # pyright: ignore[reportArgumentType]  # it is only iterated
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            collate_fn=_collate,
            worker_init_fn=_set_up_worker,
        )

    def crops(self, steps: Iterable[Sequence[CropRequest]]) -> Iterator[Batch]:
        """One training batch per step, in order."""
        return self._read(steps)

    def images(self, ids: Sequence[str], batch_size: int, with_mask: bool) -> Iterator[Batch]:
        """Every whole image once, in batches of up to `batch_size` of one size; in order if all sizes are equal.

        Without masks, there are no labels and no mask is opened; unreadable images are left out on `on_error` "skip".
        """
        starts = range(0, len(ids), batch_size)
        requests = ([ImageRequest(id, with_mask) for id in ids[i : i + batch_size]] for i in starts)
        return group_by_size(self._read(requests, ahead=self._reads_ahead), batch_size)

    def _read(self, requests: Iterable[Sequence[Request]], ahead: bool = False) -> Iterator[Batch]:
        rest = iter(requests)
        pending: deque[Sequence[Request]] = deque()  # sent to the processes but not read yet

        def issue() -> Iterator[Sequence[Request]]:
            yield from list(pending)
            for request in rest:
                pending.append(request)
                yield request

        interrupted = True
        while interrupted:
            interrupted = False
            self._current.requests = current_pass = issue()
            reads: Generator[_Read] = one_ahead(self._loader) if ahead else (read for read in self._loader)
            with closing(reads):
                for read in reads:
                    pending.popleft()
                    yield from self._batches_of(read)
                    # An evaluation within a phase takes over the pool and discards what the processes have read ahead.
                    if interrupted := self._current.requests is not current_pass:
                        break

    def _batches_of(self, read: "_Read") -> Iterator[Batch]:
        for id, fault in read.skipped:
            self._skipped[id] += 1
            if id not in self._warned:
                self._warned.add(id)
                log.warning("skipped: %s", fault)
        if read.error is not None:
            raise read.error
        for batch in read.batches:
            batch = batch.to(self._device)
            level = batch.confidence
            # Indexing, `take` and `gather` are three times slower on CPU.
            confidence = self._confidences.index_select(0, level.flatten().int()).view(level.shape)
            yield replace(batch, confidence=confidence.expand(batch.label.shape))

    def take_skipped(self) -> dict[str, int]:
        """Number of skips per image id since the last call."""
        skipped = dict(sorted(self._skipped.items()))
        self._skipped.clear()
        return skipped


@dataclass(frozen=True, slots=True)
class _Read:
    """Results of the requests of one batch."""

    batches: list[Batch]
    error: UserError | None
    skipped: list[tuple[str, str]]

    def pin_memory(self) -> "_Read":
        return replace(self, batches=[batch.pin_memory() for batch in self.batches])


def _collate(readings: list[Reading]) -> _Read:
    """Stack consecutive samples of one size; training crops always form one batch."""
    samples = [reading.sample for reading in readings if isinstance(reading.sample, Sample)]
    errors = [reading.sample for reading in readings if isinstance(reading.sample, UserError)]
    groups = groupby(samples, key=lambda sample: sample.image.shape)
    return _Read(
        batches=[] if errors else [_stack(list(group)) for _, group in groups],
        error=errors[0] if errors else None,
        skipped=[skip for reading in readings for skip in reading.skipped],
    )


def _stack(samples: list[Sample]) -> Batch:
    levels = [sample.level for sample in samples]
    if all(level is None for level in levels):
        levels = [np.full((1, 1), CERTAIN, np.uint16)] * len(samples)
    else:
        certain = np.full(samples[0].label.shape, CERTAIN, np.uint16)
        levels = [certain if level is None else level for level in levels]
    return Batch(
        image=_together([sample.image for sample in samples]).permute(0, 3, 1, 2),
        label=_together([sample.label for sample in samples]),
        confidence=_together([level.view(np.int16) for level in levels]),
        is_pseudo=torch.tensor([sample.level is not None for sample in samples]),
        ids=tuple(sample.id for sample in samples),
    )


def _together(arrays: Sequence[np.ndarray]) -> Tensor:
    # In a loader process, PyTorch's own collate writes to shared memory.
    return default_collate([torch.from_numpy(array) for array in arrays])


def _set_up_worker(worker: int) -> None:
    # OpenCV's threads would only compete with the other workers.
    cv2.setNumThreads(0)
    leave_signals_to_the_parent()
