"""From image ids to batches: which images a step sees, how they are read, and the processes that read them.

A request names one image and everything that decides what comes of it: its label's source and the address of its random
choices. Requests are made in the main process and carried out anywhere, so the number of loader processes changes
nothing, and one pool of processes serves training, labelling and evaluation of all phases.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from dmtc.data.augment import Augment
from dmtc.data.dataset import Dataset
from dmtc.errors import UserError
from dmtc.pseudo.store import PseudoLabels
from dmtc.randomness import generator_of
from dmtc.schedule import Phase
from dmtc.types import IGNORE_INDEX, Batch, Sample


@dataclass(frozen=True, slots=True)
class CropRequest:
    """One augmented crop for training.

    Attributes:
        id: The image.
        pseudo_labels: Where its label comes from; None means its mask.
        address: Address of the augmentation's random choices.
    """

    id: str
    pseudo_labels: PseudoLabels | None
    address: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One whole image, with its mask or (for labelling) without ever opening one."""

    id: str
    with_mask: bool


Request = CropRequest | ImageRequest


class Reader(torch.utils.data.Dataset[Sample | UserError]):
    """Carries requests out; this is what the loader's processes hold.

    A fault in a file is handed over as a value: raised in a loader's process, it would arrive with that process's
    traceback in place of its one line.
    """

    def __init__(self, dataset: Dataset, augment: Augment) -> None:
        self.dataset = dataset
        self.augment = augment

    def __getitem__(self, request: Request) -> Sample | UserError:
        """Read one sample from disk, and augment it if it is for training."""
        try:
            return self._read(request)
        except UserError as error:
            return error

    def _read(self, request: Request) -> Sample:
        match request:
            case ImageRequest(id, with_mask=True):
                return self.dataset.sample(id)
            case ImageRequest(id):
                image = self.dataset.image(id)
                size = image.shape[:2]
                return Sample(id, image, np.full(size, IGNORE_INDEX, np.uint8), np.zeros(size, np.float32))
            case CropRequest(id, PseudoLabels() as pseudo_labels, address):
                sample = Sample(id, self.dataset.image(id), *pseudo_labels.read(id))
                return replace(self.augment(sample, generator_of(*address)), is_pseudo=True)
            case CropRequest(id, _, address):
                return self.augment(self.dataset.sample(id), generator_of(*address))


class Loader:
    """Reads batches for a whole run.

    Args:
        dataset: Where ids are looked up.
        augment: How crops are made.
        workers: Processes that read; 0 reads in this one.
        device: Where batches go.
    """

    def __init__(self, dataset: Dataset, augment: Augment, workers: int, device: torch.device) -> None:
        self._device = device
        self._requests: Iterable[Sequence[Request]] = ()
        self._loader = DataLoader(
            Reader(dataset, augment),
            batch_sampler=self,  # pyright: ignore[reportArgumentType]  # it is only iterated
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            collate_fn=_collate,
            worker_init_fn=_set_up_worker,
        )

    def __iter__(self) -> Iterator[Sequence[Request]]:
        """The requests at hand, for the loader's own use: it asks anew for each pass."""
        return iter(self._requests)

    def crops(self, steps: Iterable[Sequence[CropRequest]]) -> Iterator[Batch]:
        """One training batch for each step's requests, in their order."""
        return self._read(steps)

    def images(self, ids: Sequence[str], batch_size: int, with_mask: bool) -> Iterator[Batch]:
        """Whole images in order, up to `batch_size` neighbors of one size at a time.

        Without masks every label is `IGNORE_INDEX`, and no mask is opened.
        """
        starts = range(0, len(ids), batch_size)
        return self._read([[ImageRequest(id, with_mask) for id in ids[i : i + batch_size]] for i in starts])

    def _read(self, requests: Iterable[Sequence[Request]]) -> Iterator[Batch]:
        self._requests = requests
        for same_sizes in self._loader:
            if isinstance(same_sizes, UserError):
                raise same_sizes
            for batch in same_sizes:
                yield batch.to(self._device)


def training_requests(
    phase: Phase,
    labelled: Sequence[str],
    unlabelled: Sequence[str],
    pseudo_labels: PseudoLabels | None,
    seed: int,
) -> Iterator[list[CropRequest]]:
    """The requests of each step of a phase, pseudo-labelled images first.

    Both kinds of images are gone through in epochs of their own, each a fresh permutation; batches run over the end of
    an epoch, so that all of them are full.
    """
    labelled_stream = _Epochs(labelled, (seed, phase.name, "labelled"))
    pseudo_stream = _Epochs(unlabelled, (seed, phase.name, "pseudo")) if pseudo_labels is not None else None
    for step in range(phase.steps):
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
        return CropRequest(self._ids[int(self._order[index])], pseudo_labels, (*self._address, epoch, index))


def _collate(read: list[Sample | UserError]) -> list[Batch] | UserError:
    """Stack neighbors of one size; training crops always give one batch."""
    samples = [sample for sample in read if isinstance(sample, Sample)]
    for error in read:
        if isinstance(error, UserError):
            return error
    groups = groupby(samples, key=lambda sample: sample.image.shape)
    return [_stack(list(group)) for _, group in groups]


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
