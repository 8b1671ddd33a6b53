"""Full batches out of images of many sizes."""

from collections.abc import Iterable, Iterator

import torch

from dmtc.types import Batch

_WAITING = 4
"""How many batches' worth of images may wait for others of their size."""


def joined(batches: Iterable[Batch], batch_size: int) -> Iterator[Batch]:
    """Batches of up to `batch_size` images, with images of one size together although others came between them.

    Where too many wait, those whose size has not come for the longest time go on as they are: so memory does not grow
    with the number of images.
    """
    waiting: dict[torch.Size, Batch] = {}  # by size; the last that came is at the end
    for batch in batches:
        size = batch.image.shape[1:]
        if size in waiting:
            batch = _both(waiting.pop(size), batch)
        if len(batch.ids) >= batch_size:
            yield _part(batch, slice(batch_size))
            batch = _part(batch, slice(batch_size, None))
        if batch.ids:
            waiting[size] = batch
        while sum(len(batch.ids) for batch in waiting.values()) > _WAITING * batch_size:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _both(one: Batch, other: Batch) -> Batch:
    return Batch(
        torch.cat([one.image, other.image]),
        torch.cat([one.label, other.label]),
        torch.cat([one.confidence, other.confidence]),
        torch.cat([one.is_pseudo, other.is_pseudo]),
        one.ids + other.ids,
    )


def _part(batch: Batch, which: slice) -> Batch:
    return Batch(
        batch.image[which], batch.label[which], batch.confidence[which], batch.is_pseudo[which], batch.ids[which]
    )
