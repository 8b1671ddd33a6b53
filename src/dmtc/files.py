"""Writing files so that a reader, or a run that goes on after a crash, never sees half of one."""

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write under a temporary name beside `path`, then rename; folders are made as needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    if isinstance(data, str):
        temporary.write_text(data, encoding="utf-8")
    else:
        temporary.write_bytes(data)
    os.replace(temporary, path)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")
