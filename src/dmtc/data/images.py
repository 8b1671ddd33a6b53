"""Reading image files: quickly, and whole or not at all."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dmtc.data.faults import CUT_OFF_IMAGE, UNREADABLE_IMAGE, FileFault
from dmtc.types import UInt8Array

PILLOW_FAULTS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that are broken, or that claim to be larger than any picture."""

ORIENTATION = 0x0112
"""The tag of EXIF that says how a picture is to be turned."""

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""The last bytes of a whole JPEG and PNG, by their first."""

_REMEDY = "replace the file or remove it from the data set"

# OpenCV would write lines of its own about every file that it cannot read, besides ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path: Path, upright: bool = False) -> UInt8Array:
    """Read an image.

    Gray images become three equal channels, transparency is dropped, 16 bits become 8. An orientation tag is not
    followed, because masks carry none.

    Args:
        path: The file.
        upright: Follow the orientation tag all the same, for pictures that have no mask and never get one.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        FileFault: The file is missing, cut off, or no image.
    """
    return decode_image(read_bytes(path), path, upright)


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        FileFault: It is missing or may not be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileFault(f"{path}: cannot be read ({reason})", UNREADABLE_IMAGE) from error


def has_orientation(path: Path) -> bool:
    """Whether a file carries an orientation tag by which viewers would turn it; only its head is read."""
    try:
        with Image.open(path) as picture:
            return picture.getexif().get(ORIENTATION, 1) not in (0, 1)
    except PILLOW_FAULTS:
        return False


def decode_image(content: bytes, path: Path, upright: bool = False) -> UInt8Array:
    """As `read_image`, from the bytes of the file; its path is for messages."""
    _require_end(content, path)
    # Decoding from memory, as cv2.imread cannot open every path on Windows.
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error:  # it claims to be larger than OpenCV allows
        image = None
    if image is None:
        raise FileFault(f"{path}: cannot be read as an image; {_REMEDY}", UNREADABLE_IMAGE)
    return np.asarray(image, np.uint8)


def _require_end(content: bytes, path: Path) -> None:
    """Refuse a file that stops early: some versions of OpenCV fill what is missing with gray and say nothing."""
    end = _ENDS.get(content[:2])
    if end is None or content.endswith(end):
        return
    # Cameras append things of their own, so the bytes alone prove nothing; Pillow takes its time, but seldom.
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except PILLOW_FAULTS as error:
        raise FileFault(f"{path}: cannot be read as an image, it is cut off ({error}); {_REMEDY}", CUT_OFF_IMAGE) from (
            error
        )
