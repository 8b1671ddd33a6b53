"""TIFF files of numbers: any whole or floating type, any number of bands, in strips or tiles, band by band or not.

Read by tifffile: OpenCV and Pillow read TIFF, too, but each only some of it, and what they do not know they may give
wrongly and say nothing: bands in the wrong place, tiles out of order, signed numbers as unsigned ones.
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
"""None, LZW, Deflate twice, PackBits, LZMA, Zstandard."""
_LOSSY = {6, 7, 33003, 33005, 34712, 34887, 50001, 50002}
_PHOTOMETRICS = {0, 1, 2}  # gray from white, gray from black, red green blue
_FILL_ORDER, _ORIENTATION, _NODATA = 266, 274, 42113

Content = bytes | mmap
"""Of a file, read or mapped."""


class TiffFault(ValueError):
    """A TIFF is damaged: its tags contradict each other, or data are missing."""


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """What the tags of a TIFF say.

    Attributes:
        height: Of its first page, in pixels.
        width: Likewise.
        bands: Numbers a pixel, transparency included.
        dtype: Of each number; None if it is none of NumPy's, such as of 12 bits.
        bits: Of each number.
        is_plain: Whether `read` can read it: numbers as such, not colors of a palette or of a printer.
        is_lossy: Whether the compression changes values.
        has_alpha: Whether the last band is transparency.
        is_inverted: Whether 0 is white.
        is_gray: Whether bands are not said to be red, green and blue.
        orientation: How it is to be turned, as in EXIF.
        nodata: The value that GDAL's tag says to hold no data, or None.
        pages: Pages of a stack; reduced copies and masks of the first do not count.
        same_size: Whether a further page has the size of the first.
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
    """Whether a file begins as TIFF, or as its form for large files."""
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def facts_of_tiff(content: Content) -> TiffFacts:
    """What the tags say; no pixel is read.

    Raises:
        TiffFault: They cannot be made out.
    """
    with _opened(content) as file:
        return _facts(file)


def read_tiff(content: bytes, facts: TiffFacts) -> np.ndarray:
    """The numbers of the first page as they are stored, also where 0 is white.

    Args:
        content: Of the file.
        facts: Its own; `is_plain` holds.

    Returns:
        (H, W, bands), of the file's type in the order of bytes of this machine.

    Raises:
        TiffFault: Data are missing or damaged.
    """
    assert facts.is_plain
    with _opened(content) as file:
        page = _first(file)
        pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
        if any(start + size > len(content) or size == 0 for start, size in pieces):
            raise TiffFault("it is cut off")
        values = page.asarray(maxworkers=1)
        if page.axes[0] == "S":  # band after band
            values = np.moveaxis(values, 0, -1)
    values = values.reshape(facts.height, facts.width, facts.bands)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


@contextmanager
def _opened(content: Content) -> Iterator["TiffFile"]:
    """The file, and whatever goes wrong with it as one kind of error: a damaged file breaks a reader in many ways."""
    from tifffile import TiffFile  # takes a moment to import, and most data sets hold no TIFF

    # It would write lines of its own about every file that it cannot read, besides ours.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    try:
        source: Any = io.BytesIO(content) if isinstance(content, bytes) else content  # mapped, it is like a file
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
        raise TiffFault("its size is not told")
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
    """The type of each number, if NumPy has it, and its bits."""
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
