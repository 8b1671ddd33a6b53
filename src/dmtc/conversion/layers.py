"""The kinds of layers: polygons, run-length codes, small pictures, and whole masks."""

import base64
import binascii
import io
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_masks

from dmtc.conversion.labels import IGNORED
from dmtc.conversion.runs import Int64Array, brush_region, coco_run_lengths, expand
from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.dataset import size_text
from dmtc.data.opening import PILLOW_FAULTS, open_picture

Region = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]

_FAR = 4
"""How many times the image's size a coordinate may lie outside; filling takes time and memory with the outline."""

_LARGEST_PACKED = 1 << 28  # bytes of an unpacked picture in a label file


def polygon(points: object) -> Float64Array:
    """Check the points of a polygon; return x and y, float64 (N, 2).

    Args:
        points: Pairs of numbers.

    Raises:
        DataError: They are not three or more pairs of finite numbers.
    """
    try:
        array = np.array(points, np.float64)
    except (ValueError, TypeError):
        raise DataError("a polygon's points should be pairs of numbers") from None
    if array.ndim != 2 or array.shape[1] != 2:
        raise DataError("a polygon's points should be pairs of numbers")
    if len(array) < 3:
        raise DataError(f"a polygon with {len(array)} points; it needs at least 3")
    if not np.isfinite(array).all():
        raise DataError("a polygon with a point that is not a finite number")
    return array


def polygon_of_flat(numbers: Sequence[object]) -> Float64Array:
    """Like `polygon`, from x1, y1, x2, y2, ... in one list."""
    if len(numbers) % 2:
        raise DataError(f"a polygon with {len(numbers)} numbers; they should be pairs of x and y")
    return polygon([numbers[place : place + 2] for place in range(0, len(numbers), 2)])


def box(
    left: float, top: float, width: float, height: float, degrees: float = 0, pivot: str = "corner"
) -> Float64Array:
    """The outline of a box that is rotated clockwise around its upper left corner or its center."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    around = np.array([width / 2, height / 2] if pivot == "center" else [0.0, 0.0])
    return polygon(_turned(corners - around, degrees) + around + np.array([left, top]))


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> Float64Array:
    """The outline of an ellipse that is rotated clockwise around its center, as 180 points."""
    angle = np.linspace(0, 2 * math.pi, 180, endpoint=False)
    outline = np.stack([radius_x * np.cos(angle), radius_y * np.sin(angle)], 1)
    return polygon(_turned(outline, degrees) + np.array([x, y]))


def _turned(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    return points @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


@dataclass(frozen=True, eq=False)
class Polygons:
    """One object of one or more polygons, without holes; filled as COCO's own tools fill it.

    Attributes:
        name: Class name.
        outlines: Polygons from `polygon`.
        holes: Polygons that are left as they are.
        scaled: Whether coordinates are fractions of the image's width and height.
    """

    name: str
    outlines: Sequence[Float64Array]
    holes: Sequence[Float64Array] = ()
    scaled: bool = False

    def paint(self, canvas: UInt8Array, values: Mapping[str, int]) -> bool:
        """See `Layer`."""
        height, width = canvas.shape
        scale = np.array([width, height] if self.scaled else [1, 1])
        region = self._filled([outline * scale for outline in self.outlines], height, width)
        if self.holes:
            region &= ~self._filled([hole * scale for hole in self.holes], height, width)
        return _paint(canvas, region, values[self.name])

    def _filled(self, outlines: Sequence[Float64Array], height: int, width: int) -> Region:
        for outline in outlines:
            if np.abs(outline).max() > _FAR * max(height, width) + 100:
                raise DataError(f"a polygon with a point far outside the image of {width}x{height}")
        flat = [outline.ravel().tolist() for outline in outlines]
        runs = coco_masks.frPyObjects(flat, height, width)  # pyright: ignore
        # Not its own decoder, which warns under NumPy 2.
        code = coco_masks.merge(runs)["counts"]
        text = code if isinstance(code, str) else code.decode()
        return expand(coco_run_lengths(text), height, width, column_major=True)


@dataclass(frozen=True, eq=False)
class Runs:
    """One object as a run-length code.

    Attributes:
        name: Class name.
        lengths: Lengths of alternating runs, the first of zeros.
        height: Height of the coded region; None is the image's.
        width: Its width.
        top: Row of its first pixel.
        left: Column of its first pixel.
        column_major: Whether the code goes down columns, as COCO's does.
    """

    name: str
    lengths: Int64Array
    height: int | None = None
    width: int | None = None
    top: int = 0
    left: int = 0
    column_major: bool = False

    def paint(self, canvas: UInt8Array, values: Mapping[str, int]) -> bool:
        """See `Layer`."""
        height = canvas.shape[0] if self.height is None else self.height
        width = canvas.shape[1] if self.width is None else self.width
        _require_inside(canvas, self.top, self.left, height, width)
        region = expand(self.lengths, height, width, self.column_major)
        return _paint(canvas[self.top : self.top + height, self.left : self.left + width], region, values[self.name])


@dataclass(frozen=True, eq=False)
class Brush:
    """One object as Label Studio's code of a brush.

    Attributes:
        name: Class name.
        code: uint8 (N).
    """

    name: str
    code: UInt8Array

    def paint(self, canvas: UInt8Array, values: Mapping[str, int]) -> bool:
        """See `Layer`."""
        return _paint(canvas, brush_region(self.code, *canvas.shape), values[self.name])


@dataclass(frozen=True, eq=False)
class Stamp:
    """One object as a small picture; what is not 0, or not transparent, is painted.

    Attributes:
        name: Class name.
        text: The picture in base64.
        top: Row of its first pixel.
        left: Column of its first pixel.
        packed: Whether the picture is packed by zlib.
    """

    name: str
    text: str
    top: int
    left: int
    packed: bool

    def paint(self, canvas: UInt8Array, values: Mapping[str, int]) -> bool:
        """See `Layer`."""
        content = unpacked(self.text, self.packed)
        try:
            with open_picture(io.BytesIO(content)) as picture:
                _require_inside(canvas, self.top, self.left, picture.height, picture.width)
                has_alpha = picture.mode in ("RGBA", "LA")
                pixels = (
                    picture.getchannel("A") if has_alpha else picture if picture.mode == "P" else picture.convert("L")
                )
                region = np.asarray(pixels) > 0
        except PILLOW_FAULTS as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"a mask is not a picture ({' '.join(str(error).split())[:80]})") from None
        height, width = region.shape
        return _paint(canvas[self.top : self.top + height, self.left : self.left + width], region, values[self.name])


@dataclass(frozen=True, eq=False)
class WholeMask:
    """A mask file for the whole image.

    Attributes:
        path: The file.
        read: Reads it into uint8 (H, W): positions in `names`, `IGNORE_INDEX` where ignored.
        names: Class names; None for pixels that nobody painted.
    """

    path: Path
    read: Callable[[Path], UInt8Array]
    names: Sequence[str | None]

    def paint(self, canvas: UInt8Array, values: Mapping[str, int]) -> bool:
        """See `Layer`."""
        label = self.read(self.path)
        if label.shape != canvas.shape:
            raise DataError(
                f"{self.path.name} is a mask of {size_text(label.shape)}, but its image is of {size_text(canvas.shape)}"
            )
        canvas[label == IGNORE_INDEX] = values[IGNORED]
        table = np.arange(256, dtype=np.uint8)
        painted = np.zeros(256, bool)
        for place, name in enumerate(self.names):
            if name is not None:
                table[place], painted[place] = values[name], True
        region = painted[label]
        canvas[region] = table[label[region]]
        return True


def unpacked(text: object, packed: bool = False) -> bytes:
    """Bytes from base64, optionally unpacked by zlib.

    Raises:
        DataError: The text is damaged, or unpacks to too much.
    """
    if not isinstance(text, str):
        raise DataError("an embedded picture should be text in base64")
    try:
        content = base64.b64decode(text, validate=True)
        if not packed:
            return content
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(content, _LARGEST_PACKED)
    except (binascii.Error, zlib.error, ValueError):
        raise DataError("an embedded picture is damaged") from None
    if unpacker.unconsumed_tail:
        raise DataError("an embedded picture unpacks to too much")
    return content


def _paint(canvas: UInt8Array, region: Region, value: int) -> bool:
    canvas[region] = value
    return bool(region.any())


def _require_inside(canvas: UInt8Array, top: int, left: int, height: int, width: int) -> None:
    if min(top, left) < 0 or min(height, width) < 1 or top + height > canvas.shape[0] or left + width > canvas.shape[1]:
        raise DataError(
            f"a mask of {width}x{height} at ({left}, {top}) does not fit the image of {size_text(canvas.shape)}"
        )
