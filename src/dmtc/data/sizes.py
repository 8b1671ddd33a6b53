"""Sizes of images, by the heads of their files: nothing is decoded."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median_low

from dmtc.data.dataset import Dataset
from dmtc.data.halved import HalvedImages
from dmtc.data.opening import picture_size

_LOOKED_AT = 100


def image_file(dataset: Dataset, id: str) -> tuple[Path, int]:
    """The file of an image itself, never a copy, which would have to be made; and by how much it will be reduced."""
    images = dataset.images
    return (images.source(id), 2) if isinstance(images, HalvedImages) else (images[id], 1)


def typical_size(dataset: Dataset, ids: Sequence[str]) -> tuple[int, int] | None:
    """Median height and median width of up to 100 of some images; None if none can be read."""
    sizes = []
    for id in ids[:: max(1, -(-len(ids) // _LOOKED_AT))]:
        path, divisor = image_file(dataset, id)
        size = picture_size(path)
        if size is not None:  # a fault is told when it is read
            sizes.append((size[0] // divisor, size[1] // divisor))
    if not sizes:
        return None
    return median_low(height for height, _ in sizes), median_low(width for _, width in sizes)
