"""Image sizes, read from file headers without decoding."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median_low

from dmtc.data.dataset import Dataset
from dmtc.data.halved import HalvedImages
from dmtc.data.opening import picture_size

_LOOKED_AT = 100


def image_file(dataset: Dataset, id: str) -> tuple[Path, int]:
    """The original file of an image, so that no half-size copy has to be made, and the factor it is reduced by."""
    images = dataset.images
    return (images.source(id), 2) if isinstance(images, HalvedImages) else (images[id], 1)


def typical_size(dataset: Dataset, ids: Sequence[str]) -> tuple[int, int] | None:
    """Median height and median width over at most 100 of the images; None if none can be read."""
    sizes = []
    for id in ids[:: max(1, -(-len(ids) // _LOOKED_AT))]:
        path, divisor = image_file(dataset, id)
        size = picture_size(path)
        if size is not None:  # errors are reported when the image is read
            sizes.append((size[0] // divisor, size[1] // divisor))
    if not sizes:
        return None
    return median_low(height for height, _ in sizes), median_low(width for _, width in sizes)
