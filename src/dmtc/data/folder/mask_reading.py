"""How to read masks of each kind, and the names and tables of their classes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.folder.class_lists import ClassList
from dmtc.data.folder.mask_survey import Survey
from dmtc.data.masks import ColorMasks, IndexMasks, ThresholdMasks, ValueMasks, color_code, color_of

MaskKind = Literal["index", "palette", "binary", "threshold", "values", "rgb"]
"""How a mask encodes classes.

index      the value is the class; palette: the same, and the file's palette gives the drawing colors
binary     two values, 0 and the largest one: background and the only class
threshold  like binary, with values in between from smoothing or JPEG: the nearer one counts
values     each class has a value, given by a table
rgb        each class has a color, given by a table
"""

_MOST_COLORS = 64


@dataclass(frozen=True, slots=True)
class MaskReading:
    """How to read masks.

    Attributes:
        kind: See `MaskKind`.
        classes: The classes, with names and with the table that the kind needs.
        why: Evidence for the kind, for the user.
    """

    kind: MaskKind
    classes: ClassList
    why: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        assert self.classes.names is not None
        return self.classes.names

    def decoder(self) -> Callable[[Path], UInt8Array]:
        """Return a function that reads a mask file into class indices.

        Raises:
            ConfigError: The table that the kind needs is missing or has duplicates.
        """
        classes = self.classes
        if self.kind in ("index", "palette"):
            return IndexMasks(classes.ignore_values or None)
        if self.kind == "rgb":
            if classes.colors is None:
                raise ConfigError("dataset.mask_kind=rgb needs the color of each class (classes.yaml, dataset.colors)")
            return ColorMasks(classes.colors, classes.ignore_colors)
        if classes.values is None:
            raise ConfigError(f"dataset.mask_kind={self.kind} needs the value of each class (classes.yaml)")
        if self.kind == "threshold":
            return ThresholdMasks(max(classes.values), classes.ignore_values)
        return ValueMasks(classes.values, classes.ignore_values)


def two_values(survey: Survey, classes: ClassList, kind: Literal["binary", "threshold"]) -> MaskReading:
    """Reading of masks with 0 and one other value."""
    largest = max(survey.values)
    if largest > 1:
        largest = 0xFFFF if largest > IGNORE_INDEX else IGNORE_INDEX
    names = classes.names or ("background", "foreground")
    if len(names) == 1:
        names = ("background", names[0])
    if len(names) != 2:
        raise DataError(f"dataset.mask_kind={kind} is for two classes, but {classes.source} names {len(names)}")
    why = f"the only values are 0 and {largest}: {largest} is {names[1]}, 0 is {names[0]}"
    if kind == "threshold":
        why = f"nearly all pixels are 0 or {largest}, and the rest lies between: above {largest // 2} is {names[1]}"
    return MaskReading(kind, replace(classes, names=names, values=[0, largest]), why)


def by_value(survey: Survey, classes: ClassList, seen: Sequence[int]) -> MaskReading:
    """Reading of masks in which each class has a value; `seen` are the values that occur, without ignored ones."""
    values, zero_ignored = classes.values or classes.places, "0" in survey.ignored or 0 in classes.ignore_values
    if values is None:
        negative = {value: survey.values[value] for value in seen if value < 0}
        if negative:
            value, count = max(negative.items(), key=lambda item: item[1])
            raise DataError(
                f"the masks hold {value} ({count} pixels), which is not a class; dataset.ignore_value={value}"
                " ignores such pixels"
            )
        named = classes.names is not None
        if not named and IGNORE_INDEX in seen and not zero_ignored and len(seen) > 2:
            raise DataError(
                f"the masks hold the gray values {_listed(seen)}, which are not indices, and 255 may be a class or mean"
                " ignored: give each class its value in classes.yaml, or set dataset.ignore_value=255"
            )
        values = [value for value in seen if value != IGNORE_INDEX or named]
        if classes.names is not None and zero_ignored and IGNORE_INDEX not in seen:
            # The first name may belong to the ignored value; only a mask with the last value can tell.
            values = range(1, len(classes.names) + 1) if max(seen, default=0) == len(classes.names) else seen
    _require_two(values, survey)
    names = classes.names or tuple(f"value {value}" for value in values)
    if len(names) != len(values):
        raise DataError(
            f"{classes.source or 'dataset.classes'} names {len(names)} classes, but values are {list(values)}"
            f"{_ignored_text(survey)}"
        )
    why = f"one channel with the values {_listed(seen)}, each mapped to a class by a table"
    why += _ignored_text(survey)
    return MaskReading("values", replace(classes, names=names, values=list(values)), why)


def by_index(survey: Survey, classes: ClassList, kind: Literal["index", "palette"], seen: Sequence[int]) -> MaskReading:
    """Reading of masks whose values or palette indices are the classes; `seen` are those that occur, minus ignored."""
    indices = [value for value in seen if value != IGNORE_INDEX]
    names = classes.names
    if set(seen) == {0, 1, IGNORE_INDEX} and survey.of_255[0] and not survey.of_255[1]:
        raise DataError(
            f"{survey.of_255[0]} masks hold only 0 and 255, and others 0 and 1: 255 may be the same class, or mean"
            " ignored; save all with the same values, or set dataset.ignore_value=255"
        )
    if names is None:
        beyond = [value for value in indices if value > IGNORE_INDEX]
        count = max((value for value in indices if value <= IGNORE_INDEX), default=0) + 1
        count = max(count, len(classes.colors or ()))
        if beyond and count < 2:
            raise DataError(
                f"the masks hold the values {_listed(seen)}, which are beyond 255: give each class its value"
            )
        _require_two(range(count), survey)
        names = tuple(f"class {index}" for index in range(count))
    elif len(names) == 1 and set(indices) <= {0, 1}:
        names = ("background", *names)
    colors = classes.colors
    if kind == "palette" and colors is None and survey.palette:
        colors = _palette_colors(survey.palette, len(names))
    ignored = [*survey.ignored, *([str(IGNORE_INDEX)] if IGNORE_INDEX in survey.values else [])]
    more = f", and {' and '.join(ignored)} for ignored pixels" if ignored else ""
    channel = "a palette, whose indices are the classes" if kind == "palette" else "one channel"
    why = f"{channel}, with the values {_listed(indices)}{more}"
    return MaskReading(kind, replace(classes, names=names, colors=colors), why)


def by_color(survey: Survey, classes: ClassList) -> MaskReading:
    """Reading of masks in which each class has a color."""
    colors = classes.colors
    shown = survey.colors or {value * 0x010101: count for value, count in survey.values.items() if value < 256}
    if colors is None:
        ignored = {color_code(color) for color in classes.ignore_colors}
        codes = [code for code in sorted(shown) if code not in ignored]
        if len(codes) > _MOST_COLORS:
            often = sorted(shown, key=shown.__getitem__, reverse=True)[:5]
            raise DataError(
                f"the masks hold {'1000 or more' if len(codes) >= 1000 else len(codes)} colors, which cannot all be"
                " classes (they may be photographs, saved as JPEG, or scaled with smoothing); list the color of each"
                f" class in classes.yaml; most frequent are {', '.join(str(list(color_of(code))) for code in often)}"
            )
        colors = [list(color_of(code)) for code in codes]
        if classes.names is not None:
            shown_colors = ", ".join(str(color) for color in colors[:8]) + (", ..." if len(colors) > 8 else "")
            raise DataError(
                f"{classes.source} names {len(classes.names)} classes but no colors, and the masks hold colors"
                f" ({shown_colors}): give each class its color in classes.yaml, and ignored pixels theirs, if any"
            )
        _require_two(codes, survey)
    names = classes.names or tuple(f"#{color_code(color):06x}" for color in colors)
    if len(names) != len(colors):
        raise ConfigError(f"dataset.colors lists {len(colors)} colors for {len(names)} classes")
    by = "colors that are the classes'" if classes.colors is not None else f"{len(colors)} colors, each a class"
    layout = {"palette": "a palette with ", "gray": "gray values with "}.get(survey.layout, "")
    return MaskReading("rgb", replace(classes, names=names, colors=colors), layout + by)


def _require_two(classes: Collection[int], survey: Survey) -> None:
    if len(classes) < 2:
        raise DataError(
            f"the masks name fewer than two classes (255 means ignored{_ignored_text(survey)});"
            " list the names in classes.yaml, classes.txt or dataset.classes"
        )


def _ignored_text(survey: Survey) -> str:
    """Further ignored values, from a setting or from nodata tags of TIFF files, for messages."""
    if not survey.ignored:
        return ""
    return (
        f"; ignored: {', '.join(survey.ignored)}, by a setting or a nodata tag in the files; a class value in"
        " classes.yaml takes precedence"
    )


def _palette_colors(palette: Mapping[int, int], count: int) -> list[list[int]] | None:
    """The palette's colors of the classes; None if two are equal or a class never occurs."""
    if not all(index in palette for index in range(count)):
        return None
    codes = [palette[index] for index in range(count)]
    return [list(color_of(code)) for code in codes] if len(set(codes)) == count else None


def _listed(values: Sequence[int]) -> str:
    """Format values for a message; runs become `0..10`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]
    return ", ".join(texts[:12]) + (", ..." if len(texts) > 12 else "") or "none"
