"""Surveys how masks are stored: layout, values and colors. `mask_kinds` decides what they mean."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX
from dmtc.data.folder.smoothing import Areas, areas_of
from dmtc.data.mask_files import Layout, MaskFile, read_mask
from dmtc.data.masks import color_codes
from dmtc.machine.cores import free_cores

T = TypeVar("T")

_MANY = 6  # number of values or colors in a mask from which some may result from smoothing

_COLORS_KEPT = 1000  # per file; a photograph has many more, all meaningless


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """How one mask is stored.

    Attributes:
        layout: One channel (or equal ones), a palette, or colors.
        lossy: Whether the format may change values.
        values: Number of pixels by value, or by index in a palette file. Empty for color masks.
        colors: Number of pixels by color code (`color_codes`), or by displayed color in a palette file. Empty for gray
            masks.
        palette: The color code of each index in the mask. Empty for files without a palette.
        ignored: Number of pixels without data, by value; they are not counted elsewhere.
        is_either: Whether it has three equal channels, and so may also be a color mask.
        areas: How many pixels of each value or color are surrounded by equal ones; None if there are few values.
    """

    layout: Layout
    lossy: bool
    values: Mapping[int, int]
    colors: Mapping[int, int]
    palette: Mapping[int, int]
    ignored: Mapping[str, int]
    is_either: bool = False
    areas: Areas | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """How the masks of a data set are stored, as far as they agree.

    Attributes:
        files: Number of masks that agree.
        others: Number of masks that differ or cannot be read.
        layout: Layout of most files; files with and without a palette count as one kind, together as "gray".
        lossy: Whether some have a format that may change values.
        values: Number of pixels by value or index.
        colors: Number of pixels by color code.
        palette: Color code by used index; None if two files disagree.
        ignored: Number of pixels without data, by value: NaN, ignored values, and nodata values of files.
        areas: How many pixels of each color or value are surrounded by equal ones, in masks with many of them.
        of_255: How many files hold 255 with only 0 besides, and how many hold 255 with other values.
    """

    files: int
    others: int
    layout: Layout
    lossy: bool
    values: Mapping[int, int]
    colors: Mapping[int, int]
    palette: Mapping[int, int] | None
    ignored: Mapping[str, int] = field(default_factory=dict)
    areas: Areas = field(default_factory=lambda: Areas({}, {}))
    of_255: tuple[int, int] = (0, 0)


def survey_masks(paths: Sequence[Path], ignored: Collection[float] = (), kept: Collection[int] = ()) -> Survey:
    """Read masks in threads and summarize what they have in common; unreadable masks are only counted.

    Args:
        paths: The files.
        ignored: As for `read_mask`.
        kept: As for `read_mask`.

    Raises:
        DataError: No mask can be read; the message gives the reason for the first.
    """
    with ThreadPoolExecutor(min(8, free_cores())) as pool:
        results = list(pool.map(lambda path: _facts_or_fault(path, ignored, kept), paths))
    facts = [result for result in results if isinstance(result, MaskFacts)]
    if not facts:
        raise DataError(f"no mask can be read: {next(iter(results), 'there is none')}")
    colored = [one for one in facts if one.layout == "color"]
    single = [one for one in facts if one.layout != "color" and not one.is_either]
    # A color mask with only background may be gray in three channels, so such masks agree with either kind.
    agreeing = [one for one in facts if one.is_either] + (colored if len(colored) > len(single) else single)
    layouts: set[Layout] = {"color"} if len(colored) > len(single) else {one.layout for one in agreeing}
    layout: Layout = layouts.pop() if len(layouts) == 1 else "gray"
    return Survey(
        files=len(agreeing),
        others=len(paths) - len(agreeing),
        layout=layout,
        lossy=any(one.lossy for one in agreeing),
        values=_total(one.values for one in agreeing),
        colors=_total(one.colors for one in agreeing),
        palette=_common_palette(agreeing),
        ignored=_total(one.ignored for one in agreeing),
        areas=_all_areas(agreeing, layout),
        of_255=(
            sum(set(one.values) == {0, IGNORE_INDEX} for one in agreeing),
            sum(IGNORE_INDEX in one.values and not set(one.values) <= {0, IGNORE_INDEX} for one in agreeing),
        ),
    )


def _facts_or_fault(path: Path, ignored: Collection[float], kept: Collection[int]) -> MaskFacts | DataError:
    try:
        return facts_of(read_mask(path, ignored, kept))
    except DataError as fault:
        return fault


def facts_of(mask: MaskFile) -> MaskFacts:
    """Collect how a mask is stored."""
    if mask.values is None:
        assert mask.colors is not None
        codes = color_codes(mask.colors)
        counts = _counts(codes)
        areas = areas_of(codes) if len(counts) >= _MANY else None
        return MaskFacts("color", mask.is_lossy, {}, counts, {}, mask.ignored, areas=areas)
    counts = _counts(mask.values if mask.nothing is None else mask.values[~mask.nothing])
    if mask.palette is not None:
        codes = color_codes(mask.palette)
        palette = {index: int(codes[index]) for index in counts}
        colors: Counter[int] = Counter()
        for index, count in counts.items():
            colors[palette[index]] += count
        return MaskFacts("palette", mask.is_lossy, counts, dict(colors), palette, mask.ignored)
    colors = Counter({value * 0x010101: n for value, n in counts.items()} if mask.is_either else {})
    # Indices without gaps are not gray levels. Such masks are common, so skip the slow count for them.
    may_be_levels = len(counts) >= _MANY and max(counts) >= 1.2 * len(counts)
    areas = areas_of(mask.values) if may_be_levels else None
    return MaskFacts("gray", mask.is_lossy, counts, colors, {}, mask.ignored, mask.is_either, areas)


def _all_areas(facts: Iterable[MaskFacts], layout: Layout) -> Areas:
    """Sum the areas of all masks, by color if the layout is "color", else by value."""
    looked: Counter[int] = Counter()
    inside: Counter[int] = Counter()
    for one in facts:
        factor = 0x010101 if layout == "color" and one.is_either else 1
        if one.areas is not None:
            looked.update({factor * value: count for value, count in one.areas.looked.items()})
            inside.update({factor * value: count for value, count in one.areas.inside.items()})
    return Areas(looked, inside)


def _counts(values: np.ndarray) -> dict[int, int]:
    if values.dtype in (np.uint8, np.bool_):
        counts = np.bincount(values.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in counts.nonzero()[0]}
    found, counts = np.unique(values, return_counts=True)
    order = counts.argsort(kind="stable")[::-1][:_COLORS_KEPT]
    return {int(found[place]): int(counts[place]) for place in order}


def _total(counts: Iterable[Mapping[T, int]]) -> dict[T, int]:
    total: Counter[T] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))  # pyright: ignore[reportArgumentType]  # numbers, or texts


def _common_palette(facts: Iterable[MaskFacts]) -> dict[int, int] | None:
    palette: dict[int, int] = {}
    for one in facts:
        for index, color in one.palette.items():
            if palette.setdefault(index, color) != color:
                return None
    return palette
