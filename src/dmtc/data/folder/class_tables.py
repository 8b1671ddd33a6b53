"""Reads `_classes.csv`, the table of classes beside the masks of Roboflow's exports."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.folder.class_lists import ClassList, agreed
from dmtc.data.text import read_text

NAME = "_classes.csv"
_HEADER = ("pixel value", "class")
_MOST = 1 << 16


def class_table(folders: Iterable[Path]) -> ClassList | None:
    """The table of classes in some folders; None if there is none.

    Raises:
        DataError: A table is malformed, or two name different classes.
    """
    paths = [path for folder in folders if (path := folder / NAME).exists()]
    return agreed(read_class_table(path) for path in paths)


def read_class_table(path: Path) -> ClassList:
    """Read a table of classes: a line `Pixel Value, Class`, then the value and the name of each class.

    Raises:
        DataError: The file is missing, malformed, or contradicts itself.
    """
    header, *rows = list(csv.reader(read_text(path).splitlines(), skipinitialspace=True)) or [[]]
    if tuple(cell.strip().lower() for cell in header) != _HEADER:
        raise DataError(
            f"{path} should begin with the line 'Pixel Value, Class', but begins with {', '.join(header)!r}"
        )
    names: dict[int, str] = {}
    for number, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != 2 or not row[1].strip():
            raise DataError(f"{path}: line {number} should be a pixel value and a class, but is {', '.join(row)!r}")
        value = _value(row[0], f"{path}: line {number}")
        if value in names:
            raise DataError(f"{path}: the value {value} stands for two classes, {names[value]} and {row[1].strip()}")
        names[value] = row[1].strip()
    values = sorted(names)
    ordered = tuple(names[value] for value in values)
    if not ordered or len(set(ordered)) < len(ordered):
        raise DataError(f"{path}: class names should be one or more, each once, but are {list(ordered)}")
    return ClassList(names=ordered, values=None if _are_indices(values) else values, source=str(path))


def _value(text: str, where: str) -> int:
    stripped = text.strip()
    value = int(stripped) if stripped.isascii() and stripped.isdigit() else _MOST
    if value >= _MOST:
        raise DataError(f"{where}: the pixel value should be a number in 0..65535, but is {stripped!r}")
    return value


def _are_indices(values: Sequence[int]) -> bool:
    return values == list(range(len(values)))
