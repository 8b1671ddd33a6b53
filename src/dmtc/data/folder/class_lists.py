"""Reads `classes.yaml` and `classes.txt`: class names, their colors or values, and what is ignored."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dmtc.core.errors import DataError
from dmtc.core.suggestions import did_you_mean, nearest
from dmtc.core.yaml_files import read_yaml
from dmtc.data.folder.ignore_words import without_labelmes
from dmtc.data.listed import read_lines

NAMES = ("classes.yaml", "classes.yml", "classes.txt")
"""Names of class files, in order of preference."""

_FORM = (
    "it should hold `classes:`, a list of names or of mappings such as {name: road, color: [128, 64, 128]}, and"
    " optionally `ignore:`, a value, a color, the name of a class, or a list of these"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassList:
    """What is known about the classes before a mask is opened.

    Attributes:
        names: Class names in index order; None to infer them from the masks.
        colors: The RGB color of each class, or None.
        values: The mask value of each class; None if it is the index.
        places: The index of each class in index masks, if it differs from the position in `names` because a listed
            class is ignored; else None.
        ignore_values: Values that mean "ignored", besides 255.
        ignore_colors: Colors that mean "ignored" in color masks.
        source: Origin of the list, for messages.
    """

    names: tuple[str, ...] | None = None
    colors: list[list[int]] | None = None
    values: list[int] | None = None
    places: list[int] | None = None
    ignore_values: tuple[float, ...] = ()
    ignore_colors: tuple[list[int], ...] = ()
    source: str = ""


def agreed(lists: Iterable[ClassList]) -> ClassList | None:
    """The first of several lists; None if there is none.

    Raises:
        DataError: Another one has other names, colors or values.
    """
    first, *others = [*lists] or [None]
    for other in others:
        if first is not None and other is not None and _told(other) != _told(first):
            raise DataError(
                f"{other.source} has other classes than {first.source}: {', '.join(other.names or ())} and"
                f" {', '.join(first.names or ())}, or other colors or values of them; make them equal, or name all"
                " classes in classes.yaml"
            )
    return first


def _told(one: ClassList) -> tuple[Any, ...]:
    return one.names, one.colors, one.values


def find_class_list(folders: Iterable[Path]) -> Path | None:
    """The first class file in some folders, or None."""
    candidates = (folder / name for folder in folders for name in NAMES)
    return next((path for path in candidates if path.exists()), None)


def read_class_list(path: Path) -> ClassList:
    """Read a class file: YAML, or text with one name per line.

    A `classes.yaml` holds `classes`, a list of names or of mappings with `name` and optionally `color` (three numbers,
    or "#rrggbb") and `value` (in the mask files; default: the position in the list). It may also hold `ignore`: a
    value, a color, the name of a listed class, which then no longer counts as a class, or a list of these. Three
    different numbers are a color in color masks; in other masks they are also three values, if no class has a color.

    labelme's `__ignore__` at the beginning or end is dropped: it means 255.

    Raises:
        DataError: The file is missing, malformed, or contradicts itself, or gives colors or values to only some
            classes.
    """
    if path.suffix not in (".yaml", ".yml"):
        return ClassList(names=_checked(without_labelmes(read_lines(path), str(path)), path), source=str(path))
    try:
        content = read_yaml(path)
    except DataError as error:
        raise DataError(f"{error}; {_FORM}") from error
    if isinstance(content, list):
        content = {"classes": content}
    if not isinstance(content, Mapping) or not isinstance(content.get("classes"), list):
        raise DataError(f"{path}: no list of classes; {_FORM}")
    _refuse_unknown(content, ("classes", "ignore"), path)
    entries = [_entry(entry, place, path) for place, entry in enumerate(content["classes"])]
    kept = without_labelmes([entry["name"] for entry in entries], str(path))
    entries = [entry for entry in entries if entry["name"] in kept]
    names = _checked([entry["name"] for entry in entries], path)
    colors, values = _all_or_none(entries, "color", path), _all_or_none(entries, "value", path)
    ignored = _ignored(content.get("ignore"), names, colors is not None, path)
    if len(ignored.places) == len(names):
        raise DataError(f"{path}: ignore names every class of the list")
    left = [place for place in range(len(names)) if place not in ignored.places]
    for place in ignored.places:
        ignored.values.append(place if values is None else values[place])
        ignored.colors.extend([] if colors is None else [colors[place]])
    return ClassList(
        names=tuple(names[place] for place in left),
        colors=None if colors is None else [colors[place] for place in left],
        values=None if values is None else [values[place] for place in left],
        places=left if values is None and left != list(range(len(left))) else None,
        ignore_values=tuple(dict.fromkeys(ignored.values)),
        ignore_colors=tuple(ignored.colors),
        source=str(path),
    )


def class_list_yaml(names: Iterable[str], colors: Iterable[Sequence[int]]) -> str:
    """The content of a `classes.yaml`.

    Examples:
        >>> print(class_list_yaml(["road"], [[128, 64, 128]]), end="")
        classes:
          - {color: [128, 64, 128], name: road}
    """
    entries = ({"name": name, "color": list(map(int, color))} for name, color in zip(names, colors, strict=True))
    lines = [yaml.safe_dump(one, default_flow_style=True, allow_unicode=True, width=1000).strip() for one in entries]
    return "classes:\n" + "".join(f"  - {line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class _Ignored:
    values: list[float]
    colors: list[list[int]]
    places: list[int]  # of classes


def _ignored(given: Any, names: tuple[str, ...], have_colors: bool, path: Path) -> _Ignored:
    """Parse `ignore` in any of its forms."""
    ignored = _Ignored([], [], [])
    if isinstance(given, list) and not _is_color(given):
        parts = given
    else:
        parts = [] if given is None else [given]
        if isinstance(given, list) and not have_colors and len(set(given)) == 3:
            ignored.values.extend(given)
    for part in parts:
        if isinstance(part, (int, float)) and not isinstance(part, bool):
            if math.isinf(part) or (abs(part) < 1 << 53 and part != part // 1 and not math.isnan(part)):
                raise DataError(f"{path}: an ignored value is a whole number, but is {part!r}")
            ignored.values.extend([] if math.isnan(part) else [part])  # NaN is always ignored
        elif isinstance(part, str) and part.strip() in names:
            ignored.places.append(names.index(part.strip()))
        elif isinstance(part, str) and not part.startswith("#"):
            raise DataError(
                f"{path}: ignore names {part!r}, which is none of the classes ({', '.join(names[:8])}); {_FORM}"
            )
        else:
            ignored.colors.append(_color(part, "ignore", path))
    return ignored


def _is_color(given: list[Any]) -> bool:
    return len(given) == 3 and all(type(number) is int and 0 <= number <= 255 for number in given)


def _entry(entry: Any, place: int, path: Path) -> dict[str, Any]:
    where = f"class {place}"
    if not isinstance(entry, Mapping):
        entry = {"name": entry}
    _refuse_unknown(entry, ("name", "color", "value"), path, f" of {where}")
    name, value, color = entry.get("name"), entry.get("value"), entry.get("color")
    # YAML does not read names such as 7, yes and null as text.
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{path}: the name of {where} should be text, in quotes if needed, but is {name!r}; {_FORM}")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 16):
        raise DataError(f"{path}: the value of {where} should be a number in 0..65535, but is {value!r}")
    return {"name": name.strip(), "value": value, "color": None if color is None else _color(color, where, path)}


def _color(color: Any, where: str, path: Path) -> list[int]:
    if isinstance(color, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        return list(bytes.fromhex(color[1:]))
    if isinstance(color, list) and _is_color(color):
        return color
    raise DataError(
        f"{path}: the color of {where} should be three numbers in 0..255 or '#rrggbb' in quotes, but is {color!r}"
    )


def _all_or_none(entries: list[dict[str, Any]], key: str, path: Path) -> list[Any] | None:
    given = [entry[key] for entry in entries if entry[key] is not None]
    if not given:
        return None
    if len(given) < len(entries):
        without = next(entry["name"] for entry in entries if entry[key] is None)
        raise DataError(f"{path}: some classes have a {key} and {without!r} has none; give it to all, or to none")
    for place, one in enumerate(given):
        if one in given[:place]:
            raise DataError(f"{path}: the {key} {one} stands for two classes")
    return given


def _checked(names: list[str], path: Path) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path}: class names should be one or more, each once, but are {names}")
    return tuple(names)


def _refuse_unknown(mapping: Mapping[Any, Any], known: tuple[str, ...], path: Path, where: str = "") -> None:
    for key in mapping:
        if key not in known:
            hint = did_you_mean(map(repr, nearest(str(key), known)))
            raise DataError(f"{path}: unknown key {str(key)!r}{where}.{hint} Known: {', '.join(known)}")
