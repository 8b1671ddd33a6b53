"""From mask files to class indices: gray and palette masks hold the index itself, color masks need a class table."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dmtc.data.faults import MASK_CHANNELS, UNKNOWN_VALUE, UNLISTED_COLOR, UNREADABLE_MASK, FileFault
from dmtc.data.images import PILLOW_FAULTS
from dmtc.errors import ConfigError
from dmtc.types import IGNORE_INDEX, UInt8Array

_COLORS_TOLD = 20  # a mask stored as JPEG has thousands that stand for nothing
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


@dataclass(frozen=True)
class IndexMasks:
    """Reads masks whose pixel values are class indices: single-channel files, and palette files by their index.

    Attributes:
        ignore_value: A further value, besides `IGNORE_INDEX`, that means "ignored"; None if there is none.
    """

    ignore_value: int | None = None

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, has several channels, or holds values beyond a byte.
        """
        # Pillow, because OpenCV turns a palette file into colors and the index is lost.
        picture = _open(path)
        if picture.mode not in _INDEX_MODES:
            raise FileFault(
                f"{path}: a mask of class indices has one channel, but this file is {picture.mode};"
                " name the color of each class (dataset.colors of dataset=folder) to read color masks",
                MASK_CHANNELS,
            )
        values = np.asarray(picture)
        if self.ignore_value is not None:
            values = np.where(values == self.ignore_value, IGNORE_INDEX, values)
        if values.size and (values.max() > IGNORE_INDEX or values.min() < 0):
            beyond, counts = np.unique(values[(values > IGNORE_INDEX) | (values < 0)], return_counts=True)
            raise FileFault(
                f"{path}: class indices lie in 0..255, but the mask holds {values.min()}..{values.max()}",
                UNKNOWN_VALUE,
                {f"value {value}": int(count) for value, count in zip(beyond, counts, strict=True)},
            )
        return values.astype(np.uint8)


class ColorMasks:
    """Reads RGB masks by a class table.

    Args:
        colors: The RGB color of each class, in class order, each channel in 0..255.
        ignore_color: The color of ignored pixels, or None if every pixel has a class.

    Raises:
        ConfigError: A color is malformed or stands for two classes.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mask.png"
        >>> Image.fromarray(np.array([[[0, 0, 0], [128, 0, 0]]], np.uint8)).save(path)
        >>> ColorMasks([[0, 0, 0], [128, 0, 0]])(path)
        array([[0, 1]], dtype=uint8)
    """

    def __init__(self, colors: Sequence[Sequence[int]], ignore_color: Sequence[int] | None = None) -> None:
        table = {}
        targets = [*enumerate(colors)] + ([(IGNORE_INDEX, ignore_color)] if ignore_color is not None else [])
        for index, color in targets:
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise ConfigError(f"a mask color is three numbers in 0..255, but color {index} is {list(color)}")
            code = color[0] << 16 | color[1] << 8 | color[2]
            if code in table:
                raise ConfigError(f"mask color {list(color)} is given for {table[code]} and for {index}")
            table[code] = index
        self._codes = np.array(sorted(table), np.uint32)
        self._classes = np.array([table[code] for code in sorted(table)], np.uint8)

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, or holds a color that is not in the table.
        """
        channels = np.asarray(_open(path).convert("RGB")).astype(np.uint32)
        codes = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        unlisted = codes[self._codes[place] != codes]
        if unlisted.size:
            values, counts = np.unique(unlisted, return_counts=True)
            order = counts.argsort(kind="stable")[::-1][:_COLORS_TOLD]
            told = {_color_text(int(values[place])): int(counts[place]) for place in order}
            color = next(iter(told))
            raise FileFault(
                f"{path}: color {color} ({told[color]} pixels) stands for no class;"
                f" {len(values)} colors in this mask are not in the class table",
                UNLISTED_COLOR,
                {f"color {color}": count for color, count in told.items()},
            )
        return self._classes[place]


def distinct_colors(count: int) -> UInt8Array:
    """Colors to draw classes in, well apart for neighboring indices.

    Returns:
        uint8 (count, 3), RGB.
    """
    golden = 0.61803398875  # steps of the golden ratio spread hues evenly, whatever the count
    colors = [colorsys.hsv_to_rgb(i * golden % 1, (0.85, 0.55)[i % 2], (0.9, 0.65, 1.0)[i % 3]) for i in range(count)]
    return np.round(np.array(colors).reshape(count, 3) * 255).astype(np.uint8)


def _color_text(code: int) -> str:
    return str((code >> 16, code >> 8 & 255, code & 255))


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError as error:
        raise FileFault(f"{path}: the mask is missing", UNREADABLE_MASK) from error
    except PILLOW_FAULTS as error:
        # Pillow's own sentence for this one is the path once more.
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise FileFault(f"{path}: cannot be read as a mask ({reason})", UNREADABLE_MASK) from error
