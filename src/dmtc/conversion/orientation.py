"""Images with an orientation tag: tools show them turned, so their labels fit the turned image."""

from pathlib import Path

import cv2
import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.files import read_regular
from dmtc.data.images import read_image
from dmtc.data.opening import orientation_of


def upright_copy(path: Path, stored: tuple[int, ...], labelled: tuple[int, int] | None) -> bytes | None:
    """The image as a PNG without a tag, if its labels were drawn on the rotated image; None to keep it as it is.

    Args:
        path: The image.
        stored: Height and width as stored.
        labelled: Height and width that the labels were drawn for.

    Raises:
        DataError: The sizes do not tell whether the image was turned.
    """
    orientation = orientation_of(read_regular(path)) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif") else 1
    if orientation in (0, 1):
        return None
    height, width = stored[:2]
    if labelled is not None and height != width and orientation > 4:
        if tuple(labelled) == (height, width):
            return None
        if tuple(labelled) == (width, height):
            return _png(path)
    raise DataError(
        f"it has an orientation tag ({orientation}), and its labels do not tell whether they were drawn on the turned"
        " image; save the image without the tag"
    )


def _png(path: Path) -> bytes:
    image = read_image(path, upright=True)
    return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
