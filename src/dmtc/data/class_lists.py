"""Reading `classes.yaml` and `classes.txt`: names of the classes, their colors or values, and what is ignored."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dmtc.data.listed import read_lines
from dmtc.errors import DataError

NAMES = ("classes.yaml", "classes.yml", "classes.txt")
"""What a file of classes is called, in order of preference."""

_FORM = (
    "it should hold `classes:`, a list of names or of mappings such as {name: road, color: [128, 64, 128]}, and perhaps"
    " `ignore:`, a value or a color"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassList:
    """What is known of the classes before a mask is opened.

    Attributes:
        names: In index order; None if the masks are to tell.
        colors: The RGB color of each class, or None.
        values: The mask value of each class, or None where it is the index.
        ignore_value: A further value, besides 255, that means "ignored".
        ignore_color: The color that means it, in masks of colors.
        source: Where this is from, for messages.
    """

    names: tuple[str, ...] | None = None
    colors: list[list[int]] | None = None
    values: list[int] | None = None
    ignore_value: int | None = None
    ignore_color: list[int] | None = None
    source: str = ""


def find_class_list(folders: Iterable[Path]) -> Path | None:
    """The first file of classes in some folders, or None."""
    candidates = (folder / name for folder in folders for name in NAMES)
    return next((path for path in candidates if path.is_file()), None)


def read_class_list(path: Path) -> ClassList:
    """Read a file of classes: YAML, or text with one name a line.

    A `classes.yaml` holds `classes`, a list whose entries are names or mappings with `name` and perhaps `color` (three
    numbers, or "#rrggbb") and `value` (in the mask files; without it the place in the list); and perhaps `ignore`, a
    value or a color.

    Raises:
        DataError: It is missing, no such file, or says something twice or by halves.
    """
    if path.suffix not in (".yaml", ".yml"):
        return ClassList(names=_checked(read_lines(path), path), source=str(path))
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())}); {_FORM}") from error
    if isinstance(content, list):
        content = {"classes": content}
    if not isinstance(content, Mapping) or not isinstance(content.get("classes"), list):
        raise DataError(f"{path}: no list of classes; {_FORM}")
    _refuse_unknown(content, ("classes", "ignore"), path)
    entries = [_entry(entry, place, path) for place, entry in enumerate(content["classes"])]
    ignore = content.get("ignore")
    value = ignore if isinstance(ignore, int) and not isinstance(ignore, bool) else None
    return ClassList(
        names=_checked([entry["name"] for entry in entries], path),
        colors=_all_or_none(entries, "color", path),
        values=_all_or_none(entries, "value", path),
        ignore_value=value,
        ignore_color=None if ignore is None or value is not None else _color(ignore, "ignore", path),
        source=str(path),
    )


def _entry(entry: Any, place: int, path: Path) -> dict[str, Any]:
    where = f"class {place}"
    if not isinstance(entry, Mapping):
        entry = {"name": entry}
    _refuse_unknown(entry, ("name", "color", "value"), path, f" of {where}")
    name, value, color = entry.get("name"), entry.get("value"), entry.get("color")
    # YAML reads names such as 7, yes and null as something else than text.
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{path}: the name of {where} should be text, in quotes if need be, but is {name!r}; {_FORM}")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 16):
        raise DataError(f"{path}: the value of {where} should be a number in 0..65535, but is {value!r}")
    return {"name": name.strip(), "value": value, "color": None if color is None else _color(color, where, path)}


def _color(color: Any, where: str, path: Path) -> list[int]:
    if isinstance(color, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        return list(bytes.fromhex(color[1:]))
    numbers = color if isinstance(color, list) else []
    if len(numbers) == 3 and all(type(number) is int and 0 <= number <= 255 for number in numbers):
        return numbers
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
            nearest = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise DataError(f"{path}: unknown key {str(key)!r}{where}.{hint} Known: {', '.join(known)}")
