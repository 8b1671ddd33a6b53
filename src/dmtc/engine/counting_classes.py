"""Counts what the masks of the labelled images hold of each class."""

from collections.abc import Sequence

import numpy as np
import torch

from dmtc.batches import OnError
from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import DataError
from dmtc.data import Dataset
from dmtc.machine.processes import Processes


def count_classes(dataset: Dataset, ids: Sequence[str], processes: Processes, on_error: OnError) -> ClassCounts:
    """Count pixels and images of each class.

    Args:
        dataset: Reads the masks.
        ids: The labelled images.
        processes: Those that divide the masks among themselves; all of them have to call this.
        on_error: Whether masks that cannot be read stop everything or are left out, as in training.

    Raises:
        DataError: A mask cannot be read.
    """
    pixels, images = np.zeros((2, dataset.num_classes), np.int64)
    masks = 0
    for id in processes.share(ids):
        try:
            mask = dataset.mask(id)
        except DataError:
            if on_error == "stop":
                raise
            continue
        held = np.bincount(mask.ravel(), minlength=256)[: dataset.num_classes]
        masks += 1
        pixels += held
        images += held > 0
    counted = processes.all_reduce(torch.from_numpy(np.concatenate([[masks], pixels, images]))).tolist()
    return ClassCounts(counted[0], counted[1 : len(pixels) + 1], counted[len(pixels) + 1 :])
