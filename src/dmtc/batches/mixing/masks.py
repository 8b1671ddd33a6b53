"""Where pixels are pasted: rectangles and whole classes, drawn at random.

Rectangles are drawn as edges, int64 (..., 4): top, left, bottom and right, of which bottom and right lie outside; an
empty one is (0, 0, 0, 0). They become masks on the device of the images.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX

Boxes = npt.NDArray[np.int64]

MAX_AREA = 0.9
"""Of a rectangle that is drawn until it fits into the image; a larger one would have next to no place."""


def moved(draws: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Random draws on the device of the images; the host does not wait for what the device is doing."""
    tensor = torch.as_tensor(draws)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def inside(boxes: Boxes, size: Sequence[int], device: torch.device) -> Tensor:
    """The pixels of each rectangle: bool (..., H, W)."""
    top, left, bottom, right = moved(boxes, device)[..., None].unbind(-2)
    rows, columns = (torch.arange(side, device=device) for side in size)
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return in_rows[..., :, None] & in_columns[..., None, :]


def at_times(boxes: Boxes, probability: float, rng: np.random.Generator, together: bool = False) -> Boxes:
    """Keep each rectangle of (n, 4) with a probability and empty the others; `together`: keep or empty all."""
    draws = rng.random(1 if together else len(boxes))
    return boxes * (draws < probability)[:, None]


def free_boxes(
    rng: np.random.Generator,
    count: int,
    size: Sequence[int],
    area: Sequence[float],
    aspect: Sequence[float],
    keep_area: bool = True,
) -> Boxes:
    """Rectangles of random area, aspect ratio and place.

    Corner and aspect ratio are drawn until the rectangle fits into the image. Of two aspect ratios, the one with more
    places is thus commoner, and so are tall rectangles, because the ratio is drawn uniformly.

    Args:
        rng: For all draws.
        count: How many.
        size: Height and width of the image.
        area: Smallest and largest share of the image, drawn uniformly.
        aspect: Smallest and largest ratio of height to width, both as shares of the image's, drawn uniformly.
        keep_area: Whether the area is drawn once, or again with each corner. The latter gives smaller rectangles.

    Returns:
        (count, 4).

    Source:
        CutMix of UniMatch and its successors; CutOut of ST++ with `keep_area=False`. Deviation: the ratio is relative
        to the shape of the image, which makes no difference for square crops.
    """
    height, width = size
    boxes = np.zeros((count, 4), np.int64)
    for box in boxes:
        share = rng.uniform(area[0], area[1])
        while True:
            ratio = rng.uniform(max(aspect[0], share), min(aspect[1], 1 / share))
            rows, columns = int(height * (share * ratio) ** 0.5), int(width * (share / ratio) ** 0.5)
            top, left = int(rng.random() * height), int(rng.random() * width)
            if top + rows <= height and left + columns <= width:
                break
            share = share if keep_area else rng.uniform(area[0], area[1])
        box[:] = top, left, top + rows, left + columns
    return boxes


def box_faults(area: Sequence[float], aspect: Sequence[float]) -> list[str]:
    """What is wrong with the options of `free_boxes`, one sentence each."""
    faults = []
    if len(area) != 2 or not 0 < area[0] <= area[1] <= MAX_AREA:
        faults.append(f"mixing.area should be a minimum and maximum in (0, {MAX_AREA}], but is {area}")
    if len(aspect) != 2 or not 0 < aspect[0] <= 1 <= aspect[1] < float("inf"):
        faults.append(f"mixing.aspect should be a minimum of at most 1 and a maximum of at least 1, but is {aspect}")
    return faults


def half_boxes(rng: np.random.Generator, count: int, size: Sequence[int]) -> Boxes:
    """Rectangles of half the image's area, up to rounding.

    The width is uniform between half and all of the image's, the height follows, and the place is uniform.

    Returns:
        (count, 4).

    Source:
        CutOut and CutMix of ReCo and U2PL.
    """
    height, width = size
    least = min(width // 2 + 1, width)
    columns = rng.integers(least, max(width, least + 1), count)
    rows = np.minimum((height * width / 2 / columns).round().astype(np.int64), height)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    return np.stack([top, left, top + rows, left + columns], -1)


def box_groups(rng: np.random.Generator, count: int, size: Sequence[int], boxes: int, area: Sequence[float]) -> Boxes:
    """Several rectangles per image, which may overlap.

    Args:
        rng: For all draws.
        count: How many images.
        size: Height and width of the image.
        boxes: Rectangles per image.
        area: Smallest and largest share of the image that as many rectangles without overlap would have; each
            rectangle draws its own, uniformly.

    Returns:
        (count, boxes, 4).

    Source:
        CutMix of "Semi-supervised semantic segmentation needs strong, varied perturbations" and of CPS.
    """
    share = rng.uniform(area[0], area[1], (count, boxes))
    tall = share ** rng.random((count, boxes))  # log-uniform between the share and 1
    sides = np.stack([tall, share / tall], -1) * boxes**-0.5
    extent = (sides * size).round()
    corner = ((np.asarray(size) - extent) * rng.random(extent.shape)).round()
    return np.concatenate([corner, corner + extent], -1).astype(np.int64)


def centered_boxes(rng: np.random.Generator, count: int, size: Sequence[int], share: float) -> Boxes:
    """Rectangles of the image's shape around random centers, cut off at its border.

    Args:
        rng: For all draws.
        count: How many.
        size: Height and width of the image.
        share: Area of a rectangle that is not cut off.

    Returns:
        (count, 4). The centers are uniform, but for the upper and the left eighth of the image, where none lie.

    Source:
        AugSeg.
    """
    edges = []
    for side in size:
        half = int(side * share**0.5) // 2
        center = rng.integers(side // 8, side, count)
        edges.append((np.maximum(center - half, 0), np.minimum(center + half, side)))
    (top, bottom), (left, right) = edges
    return np.stack([top, left, bottom, right], -1)


def class_masks(rng: np.random.Generator, label: Tensor, void_is_a_class: bool) -> Tensor:
    """The pixels of a random half of each image's classes, rounded down.

    Args:
        rng: For all draws; how many does not depend on the labels.
        label: int64 (B, H, W), class index or `IGNORE_INDEX`.
        void_is_a_class: Whether `IGNORE_INDEX` counts as a class.

    Returns:
        Bool (B, H, W), on the label's device.
    """
    flat = label.flatten(1).long()
    codes = np.tile(np.arange(IGNORE_INDEX + 1), (len(label), 1))
    order = moved(rng.permuted(codes, axis=1), label.device)
    present = torch.zeros_like(order, dtype=torch.bool).scatter_(1, flat, True)
    if not void_is_a_class:
        present[:, IGNORE_INDEX] = False
    place = order.where(present, IGNORE_INDEX + 1).argsort(1).argsort(1)
    chosen = present & (place < present.sum(1, keepdim=True) // 2)
    return chosen.gather(1, flat).view_as(label)
