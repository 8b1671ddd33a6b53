"""Counts the pixels of each class in the masks of the labelled images."""

from collections.abc import Sequence

import numpy as np
import torch

from dmtc.batches import OnError
from dmtc.core.errors import DataError
from dmtc.data import Dataset
from dmtc.machine.processes import Processes


def count_class_pixels(dataset: Dataset, ids: Sequence[str], processes: Processes, on_error: OnError) -> list[int]:
    """The number of pixels of each class, without ignored ones.

    Args:
        dataset: Reads the masks.
        ids: The labelled images.
        processes: Those that divide the masks among themselves; all of them have to call this.
        on_error: Whether masks that cannot be read stop everything or are left out, as in training.

    Raises:
        DataError: A mask cannot be read.
    """
    counts = np.zeros(dataset.num_classes, np.int64)
    for id in processes.share(ids):
        try:
            mask = dataset.mask(id)
        except DataError:
            if on_error == "stop":
                raise
            continue
        counts += np.bincount(mask.ravel(), minlength=256)[: dataset.num_classes]
    return processes.all_reduce(torch.from_numpy(counts)).tolist()
