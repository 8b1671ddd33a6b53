"""Reads tables of class colors that other tools write: `labelmap.txt` of CVAT, and `class_dict.csv`."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.folder.class_lists import ClassList, agreed
from dmtc.data.listed import read_lines
from dmtc.data.text import read_text

_VOID = [224, 224, 192]
"""VOC's color of borders, which are ignored."""

_HEADER = ("name", "r", "g", "b")

Entry = tuple[str, list[int]]


def label_map(folders: Iterable[Path]) -> ClassList | None:
    """The table of class colors in some folders; None if there is none.

    Raises:
        DataError: A table is malformed, or two name different classes.
    """
    paths = [path for folder in folders for name in _READERS if (path := folder / name).exists()]
    return agreed(read_label_map(path) for path in paths)


def is_label_map(path: Path) -> bool:
    """Whether a file is named like a table of class colors."""
    return path.name.lower() in _READERS


def read_label_map(path: Path) -> ClassList:
    """Read names and colors of classes. VOC's color of borders is ignored, unless a class has it.

    Raises:
        DataError: The file is missing, malformed, or gives a name or color twice.
    """
    entries = _READERS[path.name.lower()](path)
    names, colors = [name for name, _ in entries], [color for _, color in entries]
    ignored = () if _VOID in colors else (_VOID,)
    return ClassList(names=tuple(names), colors=colors, ignore_colors=ignored, source=str(path))


def label_map_entries(path: Path, shown: str) -> list[Entry]:
    """Names and colors from lines `name:red,green,blue:parts:actions`.

    Args:
        path: The file.
        shown: What messages call it.

    Raises:
        DataError: The file is missing, malformed, or gives a name or color twice.
    """
    entries: list[Entry] = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.startswith("#"):
            continue
        where = f"{shown}: line {number}"
        name, _, rest = line.partition(":")
        color = _color(rest.partition(":")[0].split(","))
        if color is None or not name.strip():
            raise DataError(f"{where}: should be name:red,green,blue:parts:actions, but is {line[:60]!a}")
        _add(entries, name.strip(), color, where)
    if not entries:
        raise DataError(f"{shown} names no class")
    return entries


def _class_dict_entries(path: Path) -> list[Entry]:
    header, *rows = list(csv.reader(read_text(path).splitlines(), skipinitialspace=True)) or [[]]
    if tuple(cell.strip().lower() for cell in header) != _HEADER:
        raise DataError(f"{path} should begin with the line 'name,r,g,b', but begins with {', '.join(header)!r}")
    entries: list[Entry] = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        color = _color(row[1:])
        if color is None or not row[0].strip():
            raise DataError(f"{path}: line {number} should be a name and three numbers, but is {', '.join(row)!r}")
        _add(entries, row[0].strip(), color, f"{path}: line {number}")
    if not entries:
        raise DataError(f"{path} names no class")
    return entries


def _add(entries: list[Entry], name: str, color: list[int], where: str) -> None:
    if any(name == other or color == taken for other, taken in entries):
        raise DataError(f"{where}: the name or color is given twice")
    entries.append((name, color))


def _color(cells: Sequence[str]) -> list[int] | None:
    if len(cells) != 3 or not all(one.strip().isascii() and one.strip().isdigit() for one in cells):
        return None
    color = [int(one) for one in cells]
    return color if max(color) < 256 else None


_READERS: dict[str, Callable[[Path], list[Entry]]] = {
    "labelmap.txt": lambda path: label_map_entries(path, str(path)),
    "class_dict.csv": _class_dict_entries,
}
