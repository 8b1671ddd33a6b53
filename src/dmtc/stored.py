"""What an earlier run has written, held against what it has to be before anything relies on it.

Files of a run may be cut off, edited or damaged. Each reader here returns what its file has to hold, or says in one
line which file is damaged, and how.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmtc.config_schema import shape_faults
from dmtc.data.task import Task
from dmtc.errors import DataError
from dmtc.registry import argument_faults
from dmtc.schedule import Phase, plan_from_json
from dmtc.yaml_files import read_text, read_yaml

LARGEST = 1 << 30
"""Bytes of a file of JSON: split.json holds two hashes for every labelled image."""

_OF_PHASE = ("name", "trainee", "label_from", "steps", "seconds", "miou_last", "miou_best", "pseudo")
"""What the record of a phase is never without."""

DIGEST = "sha256"
"""In the record of a phase: the hash of all the rest; records of older runs have none."""


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of what a record holds, in whatever order and however it is indented."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """Read the config of a run: all parts are there, whatever is in them.

    Raises:
        DataError: It is damaged.
    """
    try:
        config = read_yaml(path)
    except DataError as error:
        raise DataError(f"{path} is damaged: {str(error).removeprefix(f'{path}:')}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path} is damaged: it holds no settings")
    if faults := shape_faults(config):
        raise DataError(f"{path} is damaged, or no config of a run: {'; '.join(faults)}")
    return config


def holds_config(path: Path, keys: set[str]) -> bool:
    """Whether a file is a config with some keys: another program may call a file of its own so too.

    Raises:
        DataError: Nobody can read it.
    """
    config = read_yaml(path)
    return isinstance(config, dict) and config.keys() >= keys


def read_json(path: Path) -> Any:
    """Read a file of JSON.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    try:
        return json.loads(read_text(path, LARGEST))
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """As `read_json`, of a file that holds one JSON object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it should hold a JSON object, but holds a {type(content).__name__}")
    return content


def read_plan(path: Path) -> list[Phase]:
    """Read the phases of a run.

    Raises:
        DataError: It is damaged.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} is damaged: it should hold a list of phases")
    names: set[str] = set()
    faults = []
    for number, entry in enumerate(entries):
        wrong = argument_faults(Phase, entry, f"phase {number}")
        if not wrong:
            others = {entry["init_from"], entry["label_from"]} - {None}
            named = re.fullmatch(r"[\w-]+", entry["name"]) and re.fullmatch(r"\w+", entry["trainee"])
            if not named or entry["name"] in names or not others <= names or entry["steps"] < 1:
                wrong = [f"phase {number} ({entry['name']}) is none of a plan"]
            names.add(entry["name"])
        faults += wrong
    if faults:
        raise DataError(f"{path} is damaged: {faults[0]}")
    return plan_from_json(entries)


def read_task(path: Path) -> Task:
    """Read classes and colors.

    Raises:
        DataError: They are damaged.
    """
    content = read_mapping(path)
    try:
        task = Task.from_json(content)
        if not task.classes or not all(isinstance(name, str) for name in task.classes):
            raise ValueError("the name of a class is text")
        if not isinstance(task.dataset, str) or type(task.reduction) is not int or task.reduction < 1:
            raise ValueError("dataset should be text and reduction a whole number")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is damaged: {reason}") from None
    return task


def read_phase(path: Path, name: str) -> dict[str, Any]:
    """Read what is to be reported of a phase.

    Raises:
        DataError: It is damaged, or was changed after it was written.
    """
    record = read_mapping(path)
    if (written := record.pop(DIGEST, None)) is not None and written != digest(record):
        raise DataError(f"{path} is damaged, or was changed after it was written: delete its folder, and resume")
    lacking = [key for key in _OF_PHASE if key not in record]
    numbers = [record.get(key) for key in ("steps", "seconds", "miou_last", "miou_best")]
    if lacking:
        raise DataError(f"{path} is damaged: it has no {lacking[0]}")
    if record["name"] != name or not all(isinstance(one, int | float) for one in numbers):
        raise DataError(f"{path} is damaged: it is no record of phase {name}")
    if record["pseudo"] is not None and not isinstance(record["pseudo"], Mapping):
        raise DataError(f"{path} is damaged: pseudo should be an object or null")
    return record
