"""Reads numeric TIFF files: any integer or float type, any number of bands, strips or tiles, planar or interleaved.

Uses tifffile. OpenCV and Pillow support only part of TIFF and can silently misread the rest: bands in the wrong order,
tiles out of place, signed values as unsigned.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_BITS = (8, 16, 32, 64)
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_LOSSLESS = {1, 5, 8, 32946, 32773, 34925, 50000}
"""No compression, LZW, Deflate (two codes), PackBits, LZMA, Zstandard."""
_LOSSY = {6, 7, 33003, 33005, 34712, 34887, 50001, 50002}
_PHOTOMETRICS = {0, 1, 2}  # white is zero, black is zero, RGB
_FILL_ORDER, _ORIENTATION, _NODATA = 266, 274, 42113

Content = bytes | mmap
"""Content of a file, as bytes or memory-mapped."""


class TiffFault(ValueError):
    """A TIFF is damaged: its tags contradict each other, or data is missing."""


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """Facts from the tags of a TIFF.

    Attributes:
        height: Height of the first page in pixels.
        width: Width of the first page in pixels.
        bands: Values per pixel, including transparency.
        dtype: Type of each value; None if NumPy lacks it, for example for 12 bits.
        bits: Bits of each value.
        is_plain: Whether `read_tiff` can read it: plain values, not palette or printing colors.
        is_lossy: Whether the compression changes values.
        has_alpha: Whether the last band is transparency.
        is_inverted: Whether 0 is white.
        is_gray: Whether the bands are not declared as red, green and blue.
        orientation: Orientation tag, as in EXIF.
        nodata: The nodata value of GDAL's tag, or None.
        pages: Number of pages of a stack, without reduced copies and masks of the first page.
        same_size: Whether another page has the size of the first.
    """

    height: int
    width: int
    bands: int
    dtype: np.dtype[Any] | None
    bits: int
    is_plain: bool
    is_lossy: bool
    has_alpha: bool
    is_inverted: bool
    is_gray: bool
    orientation: int
    nodata: float | None
    pages: int
    same_size: bool


def is_tiff(content: Content) -> bool:
    """Whether a file begins like a TIFF or BigTIFF."""
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def facts_of_tiff(content: Content) -> TiffFacts:
    """Read the tags of a TIFF, but no pixels.

    Raises:
        TiffFault: The tags cannot be read.
    """
    with opened_tiff(content) as file:
        return _facts(file)


def read_tiff(content: bytes, facts: TiffFacts) -> np.ndarray:
    """Read the values of the first page as stored; files in which 0 is white are not inverted.

    Args:
        content: The file's bytes.
        facts: The file's facts; `is_plain` must be true.

    Returns:
        (H, W, bands), of the file's type in native byte order.

    Raises:
        TiffFault: Data is missing or damaged.
    """
    assert facts.is_plain
    with opened_tiff(content) as file:
        page = _first(file)
        pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
        if any(start + size > len(content) or size == 0 for start, size in pieces):
            raise TiffFault("it is cut off")
        values = page.asarray(maxworkers=1)
        if page.axes[0] == "S":  # planar
            values = np.moveaxis(values, 0, -1)
    values = values.reshape(facts.height, facts.width, facts.bands)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


@contextmanager
def opened_tiff(content: Content) -> Iterator["TiffFile"]:
    """Open a TIFF and turn every error into a `TiffFault`: damaged files raise many kinds of exceptions."""
    from tifffile import TiffFile  # slow to import, and most data sets hold no TIFF

    # Otherwise tifffile logs every unreadable file, in addition to our message.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    try:
        source: Any = io.BytesIO(content) if isinstance(content, bytes) else content  # a memory map is file-like
        with TiffFile(source) as file:
            yield file
    except (TiffFault, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TiffFault(f"damaged or cut off: {reason}") from error


def _facts(file: "TiffFile") -> TiffFacts:
    page = _first(file)
    size = (page.imagelength, page.imagewidth)
    bands, extra = page.samplesperpixel, tuple(page.extrasamples)
    if min(*size, bands) < 1:
        raise TiffFault("it has no valid size")
    dtype, bits = _dtype(page)
    others = [one for one in file.pages[1:] if isinstance(one, type(page)) and not (one.is_reduced or one.is_mask)]
    of_stack = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
    return TiffFacts(
        *size,
        bands=bands,
        dtype=dtype,
        bits=bits,
        is_plain=(
            dtype is not None
            and page.photometric in _PHOTOMETRICS
            and page.compression in _LOSSLESS
            and _tag(page, _FILL_ORDER, 1) == 1
        ),
        is_lossy=page.compression in _LOSSY,
        has_alpha=bool(extra) and extra[-1] in (1, 2) and bands > 1,
        is_inverted=page.photometric == 0,
        is_gray=page.photometric != 2,
        orientation=int(_tag(page, _ORIENTATION, 1)),
        nodata=_number(_tag(page, _NODATA, None)),
        pages=max(1 + len(others), of_stack),
        same_size=of_stack > 1 or any((one.imagelength, one.imagewidth) == size for one in others),
    )


def _first(file: "TiffFile") -> "TiffPage":
    if not len(file.pages):
        raise TiffFault("there is no picture in it")
    return file.pages.first


def _dtype(page: "TiffPage") -> tuple[np.dtype[Any] | None, int]:
    """NumPy type of each value, or None if NumPy lacks it, and its bits."""
    bits = page.bitspersample
    if not isinstance(bits, int):
        return None, max(bits)
    kind = _KINDS.get(int(page.sampleformat)) if isinstance(page.sampleformat, int) else None
    known = kind is not None and bits in _BITS and not (kind == "f" and bits == 8)
    return (np.dtype(f"{kind}{bits // 8}") if known else None), bits


def _tag(page: "TiffPage", code: int, default: Any) -> Any:
    return page.tags.valueof(code, default)


def _number(text: Any) -> float | None:
    try:
        return None if text is None else float(str(text).strip("\0 \t\r\n"))
    except ValueError:
        return None
