"""Reads what the W&B client has written for a run; the client itself has no reader.

A file is a header and blocks of 32 KiB, in which records lie as in LevelDB's log: checksum, length, kind, data; a
record that runs over the end of a block has several pieces.
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _BLOCK = 7, 2**15
_WHOLE, _LAST = 1, 4


_PATIENCE = 20.0
"""Seconds that the client's process may take to write down what it has already said to be finished."""


def records_of(path: Path) -> list[Record]:
    """Every record of the .wandb file of a run that has ended."""
    until = time.monotonic() + _PATIENCE
    while True:
        records = list(_records(path.read_bytes()))
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < until, f"{path} tells of no end of the run"
        time.sleep(0.1)


def _records(data: bytes) -> Iterator[Record]:
    assert data[:4] == b":W&B"
    position, pieces = _HEADER, b""
    while position + 7 <= len(data):
        if (rest := _BLOCK - position % _BLOCK) < 7:
            position += rest
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        pieces += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(pieces)
            pieces = b""


def values_of(items: Any) -> dict[str, Any]:
    """Items of a history, summary or config record as nested dictionaries."""
    values: dict[str, Any] = {}
    for item in items:
        *path, last = item.nested_key or [item.key]
        inner = values
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
    return values


def history_of(records: list[Record]) -> list[dict[str, Any]]:
    """One dictionary a call of `log`."""
    return [values_of(record.history.item) for record in records if record.WhichOneof("record_type") == "history"]
