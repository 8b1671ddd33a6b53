"""TIFF files of numbers: any whole or floating type, any number of bands, in strips or tiles, band by band or not.

OpenCV and Pillow read TIFF, too, but each only some of it, and what they do not know they may give wrongly and say
nothing: bands in the wrong place, tiles out of order, signed numbers as unsigned ones. Here the layout is taken from
the tags, and Pillow only unpacks the bytes.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod
from mmap import mmap
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _DESCRIPTION, _STRIPS, _ORIENTATION, _BANDS = 266, 270, 273, 274, 277
_ROWS, _STRIP_BYTES, _PLANAR, _PREDICTOR = 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_KIND_OF_PAGE, _EXTRA, _FORMAT, _NODATA = 254, 338, 339, 42113

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes of a value by its type
_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_UNPACKED = {5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
_LOSSY = {6, 7, 33003, 33005, 34712, 34887, 50001, 50002}
_PHOTOMETRICS = {0, 1, 2}  # gray from white, gray from black, red green blue
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_MOST_PAGES = 10_000
_REDUCED, _MASK = 1, 4  # bits of the kind of a page

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
    pages = _pages(content)
    first = next(pages, None)
    if first is None:
        raise TiffFault("there is no picture in it")
    others = [tags for tags in pages if not _number(tags, _KIND_OF_PAGE, 0) & (_REDUCED | _MASK)]
    bands, bits = _number(first, _BANDS, 1), _numbers(first, _BITS, (1,))
    dtype = _dtype(bits, _numbers(first, _FORMAT, (1,)))
    extra = _numbers(first, _EXTRA, ())
    photometric = _number(first, _PHOTOMETRIC, 1)
    compression = _number(first, _COMPRESSION, 1)
    size = (_number(first, _HEIGHT, 0), _number(first, _WIDTH, 0))
    if min(*size, bands) < 1:
        raise TiffFault("its size is not told")
    return TiffFacts(
        *size,
        bands=bands,
        dtype=dtype,
        bits=max(bits),
        is_plain=(
            dtype is not None
            and photometric in _PHOTOMETRICS
            and (compression == 1 or compression in _UNPACKED)
            and _number(first, _FILL_ORDER, 1) == 1
        ),
        is_lossy=compression in _LOSSY,
        has_alpha=bool(extra) and extra[-1] in (1, 2) and bands > 1,
        is_inverted=photometric == 0,
        is_gray=photometric != 2,
        orientation=_number(first, _ORIENTATION, 1),
        nodata=_nodata(first.get(_NODATA)),
        pages=1 + max(len(others), _imagej_pages(first.get(_DESCRIPTION)) - 1),
        same_size=any((_number(tags, _HEIGHT, 0), _number(tags, _WIDTH, 0)) == size for tags in others)
        or _imagej_pages(first.get(_DESCRIPTION)) > 1,
    )


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
    tags = next(_pages(content))
    assert facts.dtype is not None
    assert facts.is_plain
    layout = _Layout.of(tags, facts)
    dtype = facts.dtype.newbyteorder(">" if content[:1] == b"M" else "<")
    planes = []
    for segments in layout.planes(content):
        rows = _unpacked(segments, layout, _number(tags, _COMPRESSION, 1))
        planes.append(_unpredicted(rows, layout, _predictor(tags), dtype)[: facts.height, : facts.width])
    return np.ascontiguousarray(planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the pieces of a page are, and how they lie: strips are tiles as wide as the page."""

    height: int  # of the page, in whole tiles where there are tiles
    across: int  # tiles side by side
    tile_width: int
    tile_height: int
    together: int  # bands that lie side by side in a pixel
    item: int
    tiled: bool
    offsets: Sequence[int]
    counts: Sequence[int]

    @classmethod
    def of(cls, tags: dict[int, Any], facts: TiffFacts) -> "_Layout":
        assert facts.dtype is not None
        separate = facts.bands > 1 and _number(tags, _PLANAR, 1) == 2
        together = 1 if separate else facts.bands
        tiled = _TILES in tags
        if tiled:
            width, height = _number(tags, _TILE_WIDTH, 0), _number(tags, _TILE_HEIGHT, 0)
            offsets, counts = _numbers(tags, _TILES, ()), _numbers(tags, _TILE_BYTES, ())
        else:
            width, height = facts.width, min(_number(tags, _ROWS, facts.height) or facts.height, facts.height)
            offsets, counts = _numbers(tags, _STRIPS, ()), _numbers(tags, _STRIP_BYTES, ())
        if width < 1 or height < 1 or (tiled and width % 16):
            raise TiffFault("its tiles have no size")
        across, down = ceil(facts.width / width), ceil(facts.height / height)
        needed = across * down * (facts.bands if separate else 1)
        if len(offsets) != needed or (len(counts) != needed and _number(tags, _COMPRESSION, 1) != 1):
            raise TiffFault(f"{needed} pieces are needed and {len(offsets)} are there")
        rows = down * height if tiled else facts.height
        return cls(rows, across, width, height, together, facts.dtype.itemsize, tiled, offsets, counts)

    @property
    def row_bytes(self) -> int:
        return self.tile_width * self.together * self.item

    def planes(self, content: bytes) -> Iterator[list[bytes]]:
        """The packed pieces of each plane."""
        each = self.across * ceil(self.height / self.tile_height)
        for start in range(0, len(self.offsets), each):
            pieces = []
            for place in range(start, start + each):
                rows = self.tile_height
                if not self.tiled:
                    rows = min(rows, self.height - (place - start) * self.tile_height)
                count = self.counts[place] if place < len(self.counts) else rows * self.row_bytes
                piece = content[self.offsets[place] : self.offsets[place] + count]
                if len(piece) < count:
                    raise TiffFault("it is cut off")
                pieces.append(piece)
            yield pieces


def _unpacked(pieces: list[bytes], layout: _Layout, compression: int) -> np.ndarray:
    """The bytes of one plane: uint8 (rows, tiles side by side, bytes of a row of a tile)."""
    shape = (layout.height, layout.across, layout.row_bytes)
    if compression != 1:
        rows = _by_pillow(pieces, layout, compression)
        return rows.reshape(shape)
    whole = np.frombuffer(b"".join(pieces), np.uint8)
    if whole.size != prod(shape):
        raise TiffFault(f"{prod(shape)} bytes of pixels are needed and {whole.size} are there")
    if layout.across == 1:
        return whole.reshape(shape)
    down = layout.height // layout.tile_height
    tiles = whole.reshape(down, layout.across, layout.tile_height, layout.row_bytes)
    return tiles.swapaxes(1, 2).reshape(shape)


def _by_pillow(pieces: list[bytes], layout: _Layout, compression: int) -> np.ndarray:
    """Have Pillow's libtiff unpack bytes: as a gray picture of 8 bits, whose width is the number of bytes of a row."""
    offsets, place = [], 8
    for piece in pieces:
        offsets.append(place)
        place += len(piece)
    counts = [len(piece) for piece in pieces]
    width = layout.across * layout.row_bytes
    tags = [(_WIDTH, [width]), (_HEIGHT, [layout.height]), (_BITS, [8]), (_COMPRESSION, [compression])]
    tags += [(_PHOTOMETRIC, [1]), (_BANDS, [1])]
    if layout.tiled:
        tags += [(_TILE_WIDTH, [layout.row_bytes]), (_TILE_HEIGHT, [layout.tile_height])]
        tags += [(_TILES, offsets), (_TILE_BYTES, counts)]
    else:
        tags += [(_STRIPS, offsets), (_ROWS, [layout.tile_height]), (_STRIP_BYTES, counts)]
    if place >= 1 << 32:
        raise TiffFault("it is too large; cut it into tiles")
    body, after = b"".join(pieces), b""
    ending = place + 2 + 12 * len(tags) + 4  # where lists that do not fit into a tag go
    directory = struct.pack("<H", len(tags))
    for tag, values in sorted(tags):
        directory += struct.pack("<HHI", tag, 4, len(values))
        if len(values) == 1:
            directory += struct.pack("<I", values[0])
        else:
            directory += struct.pack("<I", ending + len(after))
            after += struct.pack(f"<{len(values)}I", *values)
    file = io.BytesIO(b"II*\0" + struct.pack("<I", place) + body + directory + struct.pack("<I", 0) + after)
    try:
        with TiffImagePlugin.TiffImageFile(file) as picture:
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise TiffFault(f"its {_UNPACKED[compression]} data are damaged or cut off ({error})") from error


def _predictor(tags: dict[int, Any]) -> int:
    """How numbers are told by their neighbors; only some kinds of compression know of it."""
    return _number(tags, _PREDICTOR, 1) if _number(tags, _COMPRESSION, 1) not in (1, 32773) else 1


def _unpredicted(rows: np.ndarray, layout: _Layout, predictor: int, dtype: np.dtype[Any]) -> np.ndarray:
    """From bytes to numbers: (rows, columns, bands)."""
    height, across, _ = rows.shape
    shape = (height, across, layout.tile_width, layout.together)
    native = dtype.newbyteorder("=")
    if predictor == 3:
        if dtype.kind != "f":
            raise TiffFault("its predictor is of floating numbers, which it does not hold")
        steps = rows.reshape(height, across, layout.tile_width * layout.item, layout.together)
        planes = np.add.accumulate(steps, axis=2, dtype=np.uint8).reshape(height, across, layout.item, -1)
        values = np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">"))
        return values.reshape(shape).astype(native).reshape(height, -1, layout.together)
    values = np.ascontiguousarray(rows).view(dtype).reshape(shape).astype(native, copy=False)
    if predictor == 2:
        whole = np.dtype(f"u{layout.item}")
        values = np.add.accumulate(values.view(whole), axis=2, dtype=whole).view(native)
    elif predictor != 1:
        raise TiffFault(f"its predictor {predictor} is unknown")
    return values.reshape(height, -1, layout.together)


def _pages(content: Content) -> Iterator[dict[int, Any]]:
    """The tags of each page: whole numbers as tuples, text as bytes."""
    order = ">" if content[:1] == b"M" else "<"
    large = content[2:4] in (b"+\0", b"\0+")
    count, entry, pointer = ("Q", "HHQ", "Q") if large else ("H", "HHI", "I")
    slot = struct.calcsize(order + pointer)
    seen: set[int] = set()
    try:
        (place,) = struct.unpack_from(order + pointer, content, 8 if large else 4)
        while place and place not in seen and len(seen) < _MOST_PAGES:
            seen.add(place)
            (tags_there,) = struct.unpack_from(order + count, content, place)
            place += struct.calcsize(order + count)
            tags: dict[int, Any] = {}
            for _ in range(min(tags_there, 4096)):
                tag, kind, length = struct.unpack_from(order + entry, content, place)
                place += struct.calcsize(order + entry)
                size = length * _SIZES.get(kind, 0)
                start = place if size <= slot else struct.unpack_from(order + pointer, content, place)[0]
                place += slot
                if kind == 2 or (kind in (1, 7) and tag == _NODATA):
                    tags[tag] = content[start : start + size]
                elif kind in _LETTERS and start + size <= len(content):
                    tags[tag] = struct.unpack_from(f"{order}{length}{_LETTERS[kind]}", content, start)
            yield tags
            (place,) = struct.unpack_from(order + pointer, content, place)
    except struct.error as error:
        if not seen:
            raise TiffFault("it is cut off") from error
        # The end of the list of pages is missing; those before it are told already.


def _number(tags: dict[int, Any], tag: int, default: int) -> int:
    numbers = _numbers(tags, tag, (default,))
    return numbers[0] if numbers else default


def _numbers(tags: dict[int, Any], tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    given = tags.get(tag, default)
    return given if isinstance(given, tuple) else default


def _dtype(bits: tuple[int, ...], formats: tuple[int, ...]) -> np.dtype[Any] | None:
    if len(set(bits)) != 1 or len(set(formats)) != 1 or bits[0] not in (8, 16, 32, 64):
        return None
    kind = _KINDS.get(formats[0])
    return None if kind is None or (kind == "f" and bits[0] == 8) else np.dtype(f"{kind}{bits[0] // 8}")


def _nodata(text: Any) -> float | None:
    if not isinstance(text, bytes):
        return None
    try:
        return float(text.strip(b"\0 \t\r\n"))
    except ValueError:
        return None


def _imagej_pages(description: Any) -> int:
    """Pages of a stack of ImageJ, which may be told in its description alone."""
    if not isinstance(description, bytes) or not description.startswith(b"ImageJ="):
        return 1
    told = [line[7:] for line in description.splitlines() if line.startswith(b"images=")]
    return int(told[0]) if told and told[0].isdigit() else 1
