"""Decides what the values or colors of masks mean, from their storage and from what is known about the classes."""

from typing import Literal

from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX
from dmtc.data.folder.class_lists import ClassList
from dmtc.data.folder.mask_reading import MaskKind, MaskReading, by_color, by_index, by_value, two_values
from dmtc.data.folder.mask_survey import Survey
from dmtc.data.folder.smoothing import mixed_of
from dmtc.data.masks import color_code, color_of

_FEW_PIXELS = 0.05  # maximum share of pixels changed by smoothing
_SPARSE = 3  # values are not indices if the largest is at least this many times their number


def recognize(survey: Survey, classes: ClassList, kind: MaskKind | Literal["auto"]) -> MaskReading:
    """Decide how to read masks, and infer the classes if they are not named.

    Args:
        survey: How the masks are stored.
        classes: What is known about the classes.
        kind: The kind set by the user, or "auto".

    Raises:
        DataError: The kind cannot be determined, or there are fewer than two classes; the message says what to do.
    """
    if kind == "auto":
        kind = _kind_of(survey, classes)
    _refuse_smoothed(survey, classes, kind)
    if kind == "rgb":
        return by_color(survey, classes)
    if survey.layout == "color":
        raise DataError(
            f"dataset.mask_kind={kind} is for masks of one channel, but {survey.files} of"
            f" {survey.files + survey.others} masks hold colors"
        )
    seen = sorted(survey.values)  # without ignored values
    if kind in ("binary", "threshold"):
        return two_values(survey, classes, kind)
    if kind == "values":
        return by_value(survey, classes, seen)
    return by_index(survey, classes, kind, seen)


def _kind_of(survey: Survey, classes: ClassList) -> MaskKind:
    if classes.values is not None:
        return "values"
    if survey.layout == "color":
        return "rgb"
    if classes.colors is not None and _colors_speak(survey, classes):
        return "rgb"
    if survey.layout == "palette" and survey.palette is None:
        return "rgb"  # palettes differ between files, so only the colors have a meaning
    if classes.places is not None:
        return "values"
    seen, names = sorted(survey.values), classes.names
    if names is None or len(names) <= 2:
        if _is_gray_ramp(survey) and _is_smoothed(survey, classes):
            return "threshold"
        # Also for palette files: ImageJ writes such masks with its own palette.
        largest = max(seen, default=0)
        if set(seen) == {0, largest} and largest in (IGNORE_INDEX, 0xFFFF):
            return "binary"
    if survey.lossy:
        raise DataError(
            "masks saved as JPEG or lossy WebP have lost their class values, and only those of one class (0 and 255)"
            " can be recovered; save them as PNG"
        )
    zero_ignored = "0" in survey.ignored or 0 in classes.ignore_values
    below = [value for value in seen if value != IGNORE_INDEX]
    if names is None:
        is_sparse = len(below) > 1 and max(below) >= _SPARSE * len(below)
        return "values" if is_sparse or (zero_ignored and below) else _plain(survey)
    if zero_ignored:
        return "values"
    fits = not below or max(below) < len(names)
    return "values" if not fits and len(seen) == len(names) else _plain(survey)


def _refuse_smoothed(survey: Survey, classes: ClassList, kind: MaskKind) -> None:
    """Refuse masks whose colors or gray levels are mostly mixtures, unless they are listed as classes."""
    if kind == "rgb":
        if classes.colors is not None:
            return
        mixed = mixed_of(survey.colors, survey.areas, gray=False)
        shown, count, what = [list(color_of(code)) for code in mixed or ()], len(survey.colors), "colors"
    elif kind in ("index", "values") and classes.values is None and survey.layout == "gray":
        below = [value for value in survey.values if value != IGNORE_INDEX]
        if classes.names is not None and (not below or max(below) < len(classes.names)):
            return  # each value is a named class
        mixed = mixed_of(survey.values, survey.areas, gray=True)
        shown, count, what = mixed or [], len(survey.values), "gray levels"
    else:
        return
    if mixed is not None:
        pure = ", ".join(map(str, shown[:12])) + (", ..." if len(shown) > 12 else "")
        raise DataError(
            f"most of the {count if count < 1000 else '1000 or more'} {what} of the masks are rare mixtures of a few"
            f" ({pure}): the edges were smoothed when masks were drawn or scaled, or saved as JPEG; export them without"
            " antialiasing and scale them by the nearest pixel, or, if they are classes after all, list each with its"
            f" {'color' if kind == 'rgb' else 'value'} in classes.yaml"
        )


def _plain(survey: Survey) -> Literal["index", "palette"]:
    return "palette" if survey.layout == "palette" else "index"


def _colors_speak(survey: Survey, classes: ClassList) -> bool:
    """Whether to read single-channel masks by the colors of the classes instead of by values."""
    assert classes.colors is not None
    table = [color_code(color) for color in classes.colors]
    known = {*table} | {color_code(color) for color in classes.ignore_colors}
    if survey.layout == "palette":
        if survey.palette is None:
            return True
        own = {index: code for index, code in survey.palette.items() if index < len(table)}
        return any(table[index] != code for index, code in own.items()) and set(survey.colors) <= known
    return {value * 0x010101 for value in survey.values} <= known


def _is_gray_ramp(survey: Survey) -> bool:
    """Whether values are gray levels: no palette, or a palette from black to white or from white to black."""
    palette = (survey.palette or {}).items()
    return (
        survey.layout == "gray"
        or all(code == index * 0x010101 for index, code in palette)
        or all(code == (255 - index) * 0x010101 for index, code in palette)
    )


def _is_smoothed(survey: Survey, classes: ClassList) -> bool:
    """Whether nearly all pixels have one of two values and the rest spread over the range between them."""
    if classes.ignore_values or not survey.values:
        return False
    top = 0xFFFF if max(survey.values) > IGNORE_INDEX else IGNORE_INDEX
    near = round(0.1 * top) if survey.lossy else 0
    between = {value: count for value, count in survey.values.items() if near < value < top - near}
    ends = [any(value <= near for value in survey.values), any(value >= top - near for value in survey.values)]
    if not all(ends) or sum(between.values()) > _FEW_PIXELS * sum(survey.values.values()):
        return False
    return survey.lossy or (len(between) >= 8 and max(between) > 0.75 * top)
