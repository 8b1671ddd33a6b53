"""The speed of reading training crops."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import cv2
import torch

from dmtc.batches import Loader, training_requests
from dmtc.cost.timing import Timer
from dmtc.engine.components import Components
from dmtc.pseudo import PseudoLabels
from dmtc.schedule import Phase

_STEPS = 4


def crops_per_s(
    components: Components,
    phase: Phase,
    unlabelled: Sequence[str],
    pseudo_labels: PseudoLabels | None,
    timer: Timer,
) -> float:
    """Training crops per second that one process reads and augments, with files in the system's cache.

    Args:
        components: The recipe.
        phase: Gives the mixture of labelled and pseudo-labelled images.
        unlabelled: Ids of unlabelled images to read.
        pseudo_labels: Their pseudo-labels; None if the phase has none.
        timer: Times the reading.
    """
    labelled = components.split.subsets[phase.trainee]
    loader = Loader(components.dataset, components.augment, 0, torch.device("cpu"), components.on_error)
    few = replace(phase, steps=_STEPS)

    def read() -> None:
        for _ in loader.crops(training_requests(few, labelled, unlabelled, pseudo_labels, seed=0)):
            pass

    with _one_thread():
        return _STEPS * (phase.labelled_batch + phase.pseudo_batch) / timer.one(read)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use OpenCV without threads, as in the loader's processes."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    yield
    cv2.setNumThreads(before)
