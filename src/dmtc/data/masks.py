"""From mask files to class indices: by the value itself, by a table of values, or by a table of colors."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dmtc.data.faults import MASK_CHANNELS, UNKNOWN_VALUE, UNLISTED_COLOR, UNREADABLE_MASK, FileFault
from dmtc.data.opening import PILLOW_FAULTS
from dmtc.errors import ConfigError
from dmtc.types import IGNORE_INDEX, UInt8Array

_COLORS_TOLD = 20  # a mask stored as JPEG has thousands that stand for nothing
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
_GRAY_TOLERANCE = 4  # JPEG and WebP move the channels of a gray picture by this much
_SPREAD, _LOSSLESS = "dmtc spread", "dmtc lossless"  # what `open_mask` leaves in the picture's `info`


@dataclass(frozen=True)
class IndexMasks:
    """Reads masks whose pixel values are class indices: single-channel files, and palette files by their index.

    A gray picture that was saved with three equal channels counts as one of a single channel.

    Attributes:
        ignore_value: A further value, besides `IGNORE_INDEX`, that means "ignored"; None if there is none.
    """

    ignore_value: int | None = None

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, has several channels, or holds values beyond a byte.
        """
        values = mask_values(path)
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


class ValueMasks:
    """Reads single-channel masks in which each class has a value of its own, by a table of values.

    Args:
        values: The value of each class, in class order, in 0..65535.
        ignore_value: A value that means "ignored"; None if there is none. 255 means it too, if it is no class's.

    Raises:
        ConfigError: A value is out of range or stands for two classes.
    """

    def __init__(self, values: Sequence[int], ignore_value: int | None = None) -> None:
        if len(set(values)) < len(values) or not all(0 <= value < 1 << 16 for value in values):
            raise ConfigError(f"mask values should be numbers in 0..65535, each once, but are {list(values)}")
        if ignore_value in values:
            raise ConfigError(f"mask value {ignore_value} is a class's and cannot mean ignored too")
        self._table = np.full(1 << 16, -1, np.int16)
        self._table[IGNORE_INDEX] = IGNORE_INDEX
        if ignore_value is not None and 0 <= ignore_value < 1 << 16:
            self._table[ignore_value] = IGNORE_INDEX
        self._table[list(values)] = np.arange(len(values))

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, has several channels, or holds a value that is not in the
                table.
        """
        values = mask_values(path)
        if values.dtype == np.uint8:
            label = self._table[values]
        else:
            inside = (values >= 0) & (values < 1 << 16)
            label = np.where(inside, self._table[np.where(inside, values, 0)], -1)
        if (label < 0).any():
            unlisted, counts = np.unique(values[label < 0], return_counts=True)
            order = counts.argsort(kind="stable")[::-1][:_COLORS_TOLD]
            told = {f"value {unlisted[place]}": int(counts[place]) for place in order}
            raise FileFault(
                f"{path}: {next(iter(told))} stands for no class; {len(unlisted)} values in this mask do not",
                UNKNOWN_VALUE,
                told,
            )
        return label.astype(np.uint8)


@dataclass(frozen=True)
class ThresholdMasks:
    """Reads masks of one class whose edges are smoothed, or smeared by JPEG: from half of the range on it is the class.

    Attributes:
        largest: The value of the class: 255, or 65535 in files of 16 bits.
    """

    largest: int

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W): 1 where the class is, 0 elsewhere.

        Raises:
            FileFault: The file is missing or unreadable, or has several channels.
        """
        return (mask_values(path) > self.largest // 2).astype(np.uint8)


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
            code = color_code(color)
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
        codes = color_codes(np.asarray(open_mask(path).convert("RGB")))
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


def color_codes(picture: np.ndarray) -> np.ndarray:
    """RGB (..., 3) as one number a pixel: uint32 (...), red in the highest of three bytes."""
    channels = picture.astype(np.uint32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]


def color_code(color: Sequence[int]) -> int:
    """The same for one color of three numbers in 0..255."""
    return color[0] << 16 | color[1] << 8 | color[2]


def mask_values(path: Path) -> np.ndarray:
    """The values of a file of one channel, or of several equal ones: (H, W), of whatever integer type the file has.

    Raises:
        FileFault: The file is missing or unreadable, or its channels differ.
    """
    picture = open_mask(path)
    values = single_channel(picture)
    if values is None:
        raise FileFault(
            f"{path}: a mask of class indices has one channel, but this file is {picture.mode};"
            " name the color of each class (dataset.colors of dataset=folder) to read color masks",
            MASK_CHANNELS,
        )
    return values


def single_channel(picture: Image.Image) -> np.ndarray | None:
    """The values of a gray or palette picture, (H, W); None if it is colored, or transparent somewhere."""
    if picture.mode in _INDEX_MODES:
        values = np.asarray(picture)
        return values // np.uint8(picture.info[_SPREAD]) if _SPREAD in picture.info else values
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return None
    channels = np.asarray(picture)
    if picture.mode != "RGB" and (channels[..., -1] != 255).any():
        return None
    if picture.mode == "LA":
        return channels[..., 0]
    red, green, blue = (channels[..., index].astype(np.int16) for index in range(3))
    apart = max(np.abs(red - green).max(initial=0), np.abs(blue - green).max(initial=0))
    return channels[..., 1] if apart <= (_GRAY_TOLERANCE if is_lossy(picture) else 0) else None


def is_lossy(picture: Any) -> bool:
    """Whether an opened mask comes from a format that changes values: JPEG, or WebP in its lossy form."""
    return picture.format in ("JPEG", "MPO") or (picture.format == "WEBP" and not picture.info.get(_LOSSLESS))


def open_mask(path: Path) -> Image.Image:
    """Open and decode a file.

    Raises:
        FileFault: It is missing or unreadable.
    """
    try:
        with Image.open(path) as picture:
            spread = _spread(picture)
            picture.load()
            if spread is not None:
                picture.info[_SPREAD] = spread
            if picture.format == "WEBP":
                picture.info[_LOSSLESS] = _is_lossless_webp(path)
            return picture
    except FileNotFoundError as error:
        raise FileFault(f"{path}: the mask is missing", UNREADABLE_MASK) from error
    except PILLOW_FAULTS as error:
        # Pillow's own sentence for this one is the path once more.
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise FileFault(f"{path}: cannot be read as a mask ({reason})", UNREADABLE_MASK) from error


def _spread(picture: Image.Image) -> int | None:
    """The factor by which Pillow spreads the few values of a gray file of 2 or 4 bits over those of a byte."""
    tiles = getattr(picture, "tile", None) or [("", (0, 0), 0, "")]
    arguments = tiles[0][3]
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return {"L;2": 85, "L;4": 17}.get(raw_mode) if picture.mode == "L" and isinstance(raw_mode, str) else None


def _is_lossless_webp(path: Path) -> bool:
    with path.open("rb") as file:
        return b"VP8L" in file.read(64)  # the kind of the first picture, behind at most a head of the extended form


def _color_text(code: int) -> str:
    return str((code >> 16, code >> 8 & 255, code & 255))
