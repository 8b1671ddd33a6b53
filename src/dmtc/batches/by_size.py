"""Full batches from images of many sizes."""

from collections.abc import Iterable, Iterator

import torch

from dmtc.core.types import Batch

_WAITING = 4
"""Limit of images waiting for others of their size, in batches."""


def group_by_size(batches: Iterable[Batch], batch_size: int) -> Iterator[Batch]:
    """Batches of up to `batch_size` images of one size, even if these are not consecutive.

    If too many images wait, the size last seen the longest ago is returned as a smaller batch, so memory use does not
    grow with the number of images.
    """
    waiting: dict[torch.Size, Batch] = {}  # by size, most recent last
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
