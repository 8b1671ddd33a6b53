"""The only YAML reader: constructs no objects, never blocks, and reports every error on one line with its position."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dmtc.core.errors import DataError
from dmtc.core.files import open_regular

_LARGEST = 4 << 20
"""Maximum file size in bytes; no settings file is larger."""

_MOST_NODES = 200_000
"""Maximum number of values after alias expansion: nine lines of `*a, *a, ...` can expand to 10^9."""

_DEEPEST = 50
"""Maximum nesting depth."""

_BASE: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _LOADER(_BASE):
    """Reads `on`, `off`, `yes` and `no` as names where they are keys, as YAML 1.2 does: a term has an option `on`."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:bool" and key.value.lower() not in ("true", "false"):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Read a file that holds one YAML document.

    Returns:
        Mappings, lists, strings, numbers, booleans and None; None for an empty file.

    Raises:
        DataError: The file is missing, not a regular file (a folder, pipe or device), too large, not UTF-8 or not
            valid YAML, or holds a tag, a duplicate key, or aliases that expand to too many values. The message is one
            line with file and position.
    """
    return parse_yaml(read_text(path), str(path))


def read_text(path: str | Path, largest: int = _LARGEST) -> str:
    """Read a small UTF-8 text file; a leading byte order mark is dropped.

    Raises:
        DataError: The file is missing, not a regular file (a folder, pipe or device), too large, or not UTF-8.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise DataError(f"{path}: is too large ({size / 1e6:.0f} MB) for a file of this kind")
            content = file.read()
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: for example a null byte in the name
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: is not UTF-8 text (byte {error.start})") from None


def parse_yaml(text: str, where: str) -> Any:
    """Read one YAML document from text; see `read_yaml`.

    Args:
        text: The document.
        where: The document's file, for messages.

    Raises:
        DataError: As for `read_yaml`, except for errors about the file itself.

    Examples:
        >>> parse_yaml("classes: [ground, thing]", "classes.yaml")
        {'classes': ['ground', 'thing']}
        >>> parse_yaml("on: all", "mine.yaml")
        {'on': 'all'}
        >>> parse_yaml("tag: !!python/object/apply:os.system [ls]", "mine.yaml")
        Traceback (most recent call last):
        dmtc.core.errors.DataError: mine.yaml:1:6: the tag !!python/object/apply:os.system is refused: ...
    """
    try:
        _check(text, where)
        return yaml.load(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DataError(f"{_place(where, mark)}: {_line(error.problem or error.context)}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{where}: {_line(error)}") from None
    # Plain values can still fail: a date such as 2026-99-99, a number with 5,000 digits, a list as a key.
    except (ValueError, TypeError, OverflowError, LookupError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: a value cannot be read ({_line(error)})") from None


@dataclass(slots=True)
class _Open:
    """A mapping or list that is still being parsed."""

    mapping: bool
    anchor: str | None
    nodes: int = 1
    children: int = 0
    keys: set[str] = field(default_factory=set)


def _check(text: str, where: str) -> None:
    """Refuse YAML that is legal but never intended, before any value is built."""
    stack: list[_Open] = []
    sizes: dict[str, int] = {}
    for event in _events(text):
        if isinstance(event, yaml.CollectionEndEvent):
            done = stack.pop()
            if done.anchor is not None:
                sizes[done.anchor] = done.nodes
            _count(stack, done.nodes, where, event)
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            raise DataError(
                f"{_place(where, event.start_mark)}: the tag {_line(shown)} is refused: only plain text, numbers, lists"
                " and mappings are read"
            )
        if stack:
            _note_key(stack[-1], event, where)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(stack) >= _DEEPEST:
                raise DataError(f"{_place(where, event.start_mark)}: more than {_DEEPEST} levels of nesting")
            stack.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor))
            continue
        nodes = 1
        if isinstance(event, yaml.AliasEvent):
            # An alias of a collection that is still open would contain itself.
            if event.anchor not in sizes:
                raise DataError(f"{_place(where, event.start_mark)}: *{event.anchor} refers to nothing before it")
            nodes = sizes[event.anchor]
        elif event.anchor is not None:
            sizes[event.anchor] = 1
        _count(stack, nodes, where, event)


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, _LOADER)


def _note_key(parent: _Open, event: Any, where: str) -> None:
    parent.children += 1
    if parent.mapping and parent.children % 2 and isinstance(event, yaml.ScalarEvent):
        if event.value in parent.keys:
            raise DataError(f"{_place(where, event.start_mark)}: the key {_line(repr(event.value))} is given twice")
        parent.keys.add(event.value)


def _count(stack: list[_Open], nodes: int, where: str, event: Any) -> None:
    if not stack:
        return
    stack[-1].nodes += nodes
    if stack[-1].nodes > _MOST_NODES:
        raise DataError(f"{_place(where, event.start_mark)}: its aliases expand to more than {_MOST_NODES:,} values")


def _place(where: str, mark: Any) -> str:
    return where if mark is None else f"{where}:{mark.line + 1}:{mark.column + 1}"


def _line(text: object) -> str:
    return " ".join(str(text).split())[:200]
