"""The images that `predict` takes, as RGB arrays: files, PIL images, arrays and tensors, one or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from dmtc.core.errors import DataError
from dmtc.core.types import UInt8Array
from dmtc.data.images import ImageReader

AnImage: TypeAlias = "str | Path | Image.Image | np.ndarray | Tensor"
"""A file, a PIL image, or an array or tensor (H, W), (H, W, 3), (3, H, W), (H, W, 1) or (1, H, W)."""

Images: TypeAlias = "AnImage | Sequence[AnImage]"
"""One image, several in a list or tuple, or a batch: an array or tensor (N, H, W, 3) or (N, 3, H, W)."""

_TAKES = (
    "predict takes a file, a PIL image, a gray or RGB array or tensor (H, W), (H, W, 3) or (3, H, W), uint8 or float in"
    " [0, 1], a batch of such, or a list"
)
_CHANNELS = (1, 3)


@dataclass(frozen=True, eq=False)
class Given:
    """What was handed to `predict`.

    Attributes:
        images: Each image, still as it was given.
        form: "one", "batch" or "list": what `predict` returns.
    """

    images: Sequence[AnImage]
    form: str


def sorted_out(images: Images) -> Given:
    """One image, a batch or a list.

    Raises:
        DataError: It is none of these.
    """
    if isinstance(images, list | tuple):
        return Given(images, "list")
    if isinstance(images, np.ndarray | Tensor) and images.ndim == 4:
        return Given(list(images), "batch")
    return Given([images], "one")  # pyright: ignore[reportArgumentType]  # checked by `as_rgb`


def as_rgb(image: AnImage, reader: ImageReader) -> UInt8Array:
    """An image as uint8 (H, W, 3), RGB; gray becomes three equal channels.

    Args:
        image: See `AnImage`. A PIL image is converted to RGB. An array is (H, W, 3) if its last axis may be channels.
        reader: Reads files.

    Raises:
        DataError: It is no image, or its shape, type or values fit none.

    Examples:
        >>> import torch
        >>> from dmtc.data.images import read_image
        >>> as_rgb(np.zeros((3, 20, 30), np.float32), read_image).shape
        (20, 30, 3)
        >>> as_rgb(torch.ones(20, 30), read_image)[0, 0]
        array([255, 255, 255], dtype=uint8)
    """
    if isinstance(image, str | Path):
        return reader(Path(image))
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    if isinstance(image, Tensor):
        image = image.detach().cpu().float().numpy() if image.is_floating_point() else image.cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise DataError(f"{_TAKES}, but got {type(image).__name__}")
    shape = f"{image.dtype} {image.shape}"
    if image.ndim == 3 and image.shape[2] not in _CHANNELS and image.shape[0] in _CHANNELS:
        image = image.transpose(1, 2, 0)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in _CHANNELS or 0 in image.shape:
        raise DataError(f"{_TAKES}, but got {shape}")
    # A copy, as torch takes no negative strides or read-only arrays.
    return np.array(np.broadcast_to(_bytes_of(image, shape), (*image.shape[:2], 3)))


def _bytes_of(image: np.ndarray, shape: str) -> UInt8Array:
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise DataError(f"{_TAKES}, but got {shape}: scale its values to uint8, or divide them by the largest possible")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # false for NaN, too
        raise DataError(f"{_TAKES}, but got {shape} with values from {low:.4g} to {high:.4g}: scale them to [0, 1]")
    return np.round(image * 255).astype(np.uint8)
