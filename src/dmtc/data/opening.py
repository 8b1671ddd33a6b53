"""Opens pictures with Pillow: regular files, in supported formats, of any size that fits in memory."""

import io
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from dmtc.core.errors import DataError
from dmtc.core.files import open_regular
from dmtc.data.faults import TOO_LARGE, FileFault
from dmtc.data.tiff import facts_of_tiff, is_tiff

PILLOW_FAULTS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError, MemoryError)
"""Exceptions that Pillow raises for files that are broken or claim to be too large."""

ORIENTATION = 0x0112
"""EXIF tag of the orientation."""

_PLUGINS = (
    PngImagePlugin,
    JpegImagePlugin,
    TiffImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    WebPImagePlugin,
    PpmImagePlugin,
)  # importing a plugin registers its format
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_LARGE = 1 << 26  # pixels from which free memory is checked
_MOST_PIXELS = 1 << 30
"""OpenCV's own limit, applied to pictures and masks."""


def open_picture(file: BinaryIO) -> Image.Image:
    """Open a picture like `Image.open`, but of any size, and only in the formats used by data sets.

    `Image.open` refuses pictures of more than 178,956,970 pixels, because untrusted files may claim to be huge; but
    orthophotos and slides really are that large. The limit is global to the process, so it is bypassed here rather than
    changed, and still protects other threads and the host program. Use `require_room` to refuse pictures that do not
    fit in memory.

    Raises:
        UnidentifiedImageError: The file has none of these formats.
        Exception: One of `PILLOW_FAULTS`.
    """
    prefix = file.read(16)
    for name in _FORMATS:
        factory, accepts = Image.OPEN[name]
        accepted = True if accepts is None else accepts(prefix)
        if accepted and not isinstance(accepted, str):
            file.seek(0)
            return factory(file, "")
    raise UnidentifiedImageError("it is not an image")


def require_room(path: Path, height: int, width: int, bytes_of_pixel: float) -> None:
    """Refuse a huge picture that does not fit in memory, before it is decoded.

    Raises:
        FileFault: The picture exceeds the pixel limit, or needs more memory than is free.
    """
    pixels = height * width
    if pixels < _LARGE:
        return
    remedy = "cut images and masks into tiles"
    if pixels > _MOST_PIXELS:
        raise FileFault(f"{path}: {width}x{height} pixels are too many ({_MOST_PIXELS} at most); {remedy}", TOO_LARGE)
    need, free = pixels * bytes_of_pixel, _free_bytes()
    if free is not None and need > free:
        raise FileFault(
            f"{path}: {width}x{height} pixels take {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free;"
            f" {remedy}",
            TOO_LARGE,
        )


def picture_size(path: Path) -> tuple[int, int] | None:
    """Height and width from a file's header; None if they cannot be read."""
    try:
        with _head(path) as (file, content):
            if is_tiff(content[:4]):
                facts = facts_of_tiff(content)
                return facts.height, facts.width
            with open_picture(file) as picture:
                return picture.height, picture.width
    except (DataError, *PILLOW_FAULTS):
        return None


def has_orientation(path: Path) -> bool:
    """Whether a file has an orientation tag that makes viewers rotate or flip it; only the header is read."""
    try:
        with _head(path) as (file, content):
            return orientation_of(content if is_tiff(content[:4]) else file) not in (0, 1)
    except (DataError, OSError, ValueError):
        return False


def orientation_of(content: "bytes | mmap.mmap | BinaryIO") -> int:
    """The orientation tag, 1 to 8; 1 if there is no readable tag."""
    try:
        if isinstance(content, (bytes, mmap.mmap)) and is_tiff(content[:4]):
            return facts_of_tiff(content).orientation
        with open_picture(io.BytesIO(content) if isinstance(content, (bytes, mmap.mmap)) else content) as picture:
            return picture.getexif().get(ORIENTATION, 1)
    except PILLOW_FAULTS:
        return 1


@contextmanager
def _head(path: Path) -> Iterator[tuple[BinaryIO, mmap.mmap]]:
    """Yield an open file and its memory-mapped bytes, without reading all of them."""
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield file, content


def _free_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
