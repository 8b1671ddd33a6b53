"""Full batches out of images of many sizes."""

from collections.abc import Iterable, Iterator

import torch

from dmtc.core.types import Batch

_WAITING = 4
"""How many batches' worth of images may wait for others of their size."""


def group_by_size(batches: Iterable[Batch], batch_size: int) -> Iterator[Batch]:
    """Batches of up to `batch_size` images, with images of one size together although others came between them.

    Where too many wait, those whose size has not come for the longest time go on as they are: so memory does not grow
    with the number of images.
    """
    waiting: dict[torch.Size, Batch] = {}  # by size; the last that came is at the end
    for batch in batches:
        size = batch.image.shape[1:]
        if size in waiting:
            batch = Batch.cat([waiting.pop(size), batch])
        if len(batch.ids) >= batch_size:
            yield batch.take(slice(batch_size))
            batch = batch.take(slice(batch_size, None))
        if batch.ids:
            waiting[size] = batch
        while sum(len(batch.ids) for batch in waiting.values()) > _WAITING * batch_size:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()
