"""Converts mask files to class indices: by value, by a table of values, or by a table of colors."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.faults import MASK_CHANNELS, UNKNOWN_VALUE, UNLISTED_COLOR, FileFault
from dmtc.data.mask_files import MaskFile, number_text, read_mask

_MOST_COUNTED = 20  # a mask stored as JPEG has thousands of unknown values

Ignored = float | Sequence[float] | None
"""One or more values that mean "ignored", or None."""


@dataclass(frozen=True)
class IndexMasks:
    """Reads masks whose pixel values are class indices: single-channel files, and the indices of palette files.

    A gray picture saved with three equal channels counts as single-channel. Floating-point values must be whole; NaN
    and the nodata value of a TIFF are ignored.

    Attributes:
        ignore_value: One or more values that mean "ignored", besides `IGNORE_INDEX`; None if there are none.
    """

    ignore_value: Ignored = None

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, has several channels, or holds values outside 0..255.
        """
        mask = read_mask(path, ignored_values(self.ignore_value))
        values = _require_values(mask, path)
        if values.size and (values.max() > IGNORE_INDEX or values.min() < 0):
            beyond, counts = np.unique(values[(values > IGNORE_INDEX) | (values < 0)], return_counts=True)
            raise _unknown(path, beyond, counts, f"class indices lie in 0..{IGNORE_INDEX}")
        return _with_nothing(values.astype(np.uint8), mask)


class ValueMasks:
    """Reads single-channel masks by a table of class values.

    Args:
        values: The value of each class, in class order, in 0..65535.
        ignore_value: One or more values that mean "ignored"; None if there are none. 255 also means it, unless it is
            the value of a class.

    Raises:
        ConfigError: A value is out of range, belongs to two classes, or is both a class and ignored.
    """

    def __init__(self, values: Sequence[int], ignore_value: Ignored = None) -> None:
        if len(set(values)) < len(values) or not all(0 <= value < 1 << 16 for value in values):
            raise ConfigError(f"mask values should be numbers in 0..65535, each once, but are {list(values)}")
        self._ignored = ignored_values(ignore_value)
        both = [number_text(value) for value in self._ignored if value in values]
        if both:
            raise ConfigError(f"mask value {', '.join(both)} is a class's and cannot mean ignored too")
        self._table = np.full(1 << 16, -1, np.int16)
        self._table[IGNORE_INDEX] = IGNORE_INDEX
        self._table[list(values)] = np.arange(len(values))
        self._values = tuple(values)
        self._class_values = f"classes have {', '.join(map(str, values[:8]))}{', ...' if len(values) > 8 else ''}"

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, has several channels, or holds a value that is not in the
                table.
        """
        mask = read_mask(path, self._ignored, self._values)
        values = _require_values(mask, path)
        if values.dtype == np.uint8:
            label = self._table[values]
        else:
            inside = (values >= 0) & (values < 1 << 16)
            label = np.where(inside, self._table[np.where(inside, values, 0).astype(np.int64)], -1)
        label = _with_nothing(label, mask)
        if (label < 0).any():
            raise _unknown(path, *np.unique(values[label < 0], return_counts=True), self._class_values)
        return label.astype(np.uint8)


@dataclass(frozen=True)
class ThresholdMasks:
    """Reads masks of one class with antialiased or JPEG-blurred edges: values above half the range are the class.

    Attributes:
        largest: The value of the class: 255, or 65535 in 16-bit files.
        ignore_value: One or more values that mean "ignored"; None if there are none.
    """

    largest: int
    ignore_value: Ignored = None

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W): 1 for the class, 0 elsewhere, `IGNORE_INDEX` where ignored.

        Raises:
            FileFault: The file is missing or unreadable, or has several channels.
        """
        mask = read_mask(path, ignored_values(self.ignore_value), (0, self.largest))
        return _with_nothing((_require_values(mask, path) > self.largest // 2).astype(np.uint8), mask)


class ColorMasks:
    """Reads RGB masks by a class table.

    Args:
        colors: The RGB color of each class, in class order, each channel in 0..255.
        ignore_color: One or more colors of ignored pixels; None if every pixel has a class.

    Raises:
        ConfigError: A color is malformed, belongs to two classes, or is both a class and ignored.

    Examples:
        >>> import PIL.Image
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mask.png"
        >>> PIL.Image.fromarray(np.array([[[0, 0, 0], [128, 0, 0]]], np.uint8)).save(path)
        >>> ColorMasks([[0, 0, 0], [128, 0, 0]])(path)
        array([[0, 1]], dtype=uint8)
    """

    def __init__(
        self, colors: Sequence[Sequence[int]], ignore_color: Sequence[int] | Sequence[Sequence[int]] | None = None
    ) -> None:
        table = {}
        targets = [*enumerate(colors)] + [(IGNORE_INDEX, color) for color in ignored_colors(ignore_color)]
        for index, color in targets:
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise ConfigError(f"a mask color is three numbers in 0..255, but color {index} is {list(color)}")
            code = color_code(color)
            if index == IGNORE_INDEX and table.get(code) == IGNORE_INDEX:
                continue
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
        mask = read_mask(path)
        codes = color_codes(colors_of(mask, path))
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        wrong = self._codes[place] != codes
        unlisted = codes[wrong if mask.nothing is None else wrong & ~mask.nothing]
        if unlisted.size:
            values, counts = np.unique(unlisted, return_counts=True)
            order = counts.argsort(kind="stable")[::-1][:_MOST_COUNTED]
            pixels = {_color_text(int(values[place])): int(counts[place]) for place in order}
            color = next(iter(pixels))
            raise FileFault(
                f"{path}: color {color} ({pixels[color]} pixels) is not a class;"
                f" {len(values)} colors in this mask are not in the class table",
                UNLISTED_COLOR,
                {f"color {color}": count for color, count in pixels.items()},
            )
        return _with_nothing(self._classes[place], mask)


def distinct_colors(count: int) -> UInt8Array:
    """Colors for drawing classes, well separated for neighboring indices.

    Returns:
        uint8 (count, 3), RGB.
    """
    golden = 0.61803398875  # golden ratio steps spread hues evenly for any count
    colors = [colorsys.hsv_to_rgb(i * golden % 1, (0.85, 0.55)[i % 2], (0.9, 0.65, 1.0)[i % 3]) for i in range(count)]
    return np.round(np.array(colors).reshape(count, 3) * 255).astype(np.uint8)


def color_codes(picture: np.ndarray) -> np.ndarray:
    """Pack RGB (..., 3) into one number per pixel: uint32 (...), 0xRRGGBB."""
    channels = picture.astype(np.uint32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]


def color_code(color: Sequence[int]) -> int:
    """Pack one color of three numbers in 0..255 into 0xRRGGBB."""
    return color[0] << 16 | color[1] << 8 | color[2]


def color_of(code: int) -> tuple[int, int, int]:
    """The inverse of `color_code`."""
    return code >> 16, code >> 8 & 255, code & 255


def ignored_colors(given: Sequence[int] | Sequence[Sequence[int]] | None) -> list[list[int]]:
    """A list of colors, from one, several or none."""
    if not given:
        return []
    return [[*given]] if all(isinstance(one, int) for one in given) else [[*one] for one in given]  # pyright: ignore


def ignored_values(given: Ignored) -> tuple[float, ...]:
    """A tuple of values, from one, several or none."""
    return () if given is None else (given,) if isinstance(given, (int, float)) else tuple(given)


def colors_of(mask: MaskFile, path: Path) -> UInt8Array:
    """Colors of a mask as uint8 (H, W, 3), RGB; palettes are applied, gray becomes three equal channels.

    Raises:
        FileFault: The mask has values outside 0..255, which are not gray values.
    """
    if mask.colors is not None:
        return mask.colors
    values = _require_values(mask, path)
    if mask.palette is not None:
        return mask.palette[values]
    if values.size and (values.max() > IGNORE_INDEX or values.min() < 0):
        raise FileFault(
            f"{path}: holds the values {values.min()}..{values.max()}, which are not 8-bit gray values",
            MASK_CHANNELS,
        )
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def _require_values(mask: MaskFile, path: Path) -> np.ndarray:
    if mask.values is None:
        raise FileFault(
            f"{path}: a mask of class indices has one channel, but this file is {mask.stored};"
            " name the color of each class (dataset.colors of dataset=folder) to read color masks",
            MASK_CHANNELS,
        )
    return mask.values


def _with_nothing(label: np.ndarray, mask: MaskFile) -> np.ndarray:
    return label if mask.nothing is None else np.where(mask.nothing, label.dtype.type(IGNORE_INDEX), label)


def _unknown(path: Path, values: np.ndarray, counts: np.ndarray, why: str) -> FileFault:
    """Error for values that belong to no class, the most frequent first."""
    order = counts.argsort(kind="stable")[::-1][:_MOST_COUNTED]
    pixels = {number_text(values[place].item()): int(counts[place]) for place in order}
    shown = ", ".join(f"{value} ({count} pixels)" for value, count in list(pixels.items())[:3])
    more = f" and {len(values) - 3} other values" if len(values) > 3 else ""
    first = next(iter(pixels))
    return FileFault(
        f"{path}: {shown}{more} {'belongs' if len(values) == 1 else 'belong'} to no class, as {why};"
        f" dataset.ignore_value={first} ignores such pixels",
        UNKNOWN_VALUE,
        {f"value {value}": count for value, count in pixels.items()},
    )


def _color_text(code: int) -> str:
    return str(color_of(code))
