"""Reads files of an earlier run and checks them before anything relies on them.

Files of a run may be truncated, edited or damaged. Each reader returns valid content or says in one line which file is
damaged, and how.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmtc.config.schema import shape_faults
from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import DataError
from dmtc.core.registry import argument_faults
from dmtc.core.yaml_files import read_text, read_yaml
from dmtc.data.record import DataRecord
from dmtc.data.task import Task
from dmtc.schedule import Phase
from dmtc.schedule.phase import plan_from_json
from dmtc.tracking.phase_record import PhaseRecord

LARGEST = 1 << 30
"""Size limit of a JSON file in bytes; split.json holds two hashes for every labelled image."""

DIGEST = "sha256"
"""Key in a phase's record for the hash of all the rest."""


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's content, independent of key order and indentation."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """Read the config of a run; checks that all its parts exist, but not their content.

    Raises:
        DataError: It is damaged.
    """
    try:
        config = read_yaml(path)
    except DataError as error:
        raise DataError(f"{path} is damaged: {str(error).removeprefix(f'{path}:')}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path} is damaged: it holds no settings")
    if faults := shape_faults(config, optional=()):
        raise DataError(f"{path} is damaged, or of another version of dmtc: {'; '.join(faults)}")
    return config


def read_data(path: Path) -> DataRecord:
    """The record of the data files beside a split.

    Raises:
        DataError: It is missing or damaged.
    """
    content = read_mapping(path)
    if "data" not in content:
        raise DataError(f"{path} is damaged, or of another version of dmtc: it has no record of the data")
    try:
        return DataRecord.from_json(content["data"])
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def read_class_counts(path: Path) -> ClassCounts | None:
    """What was counted in the labelled masks, beside a split; None if nothing was.

    Raises:
        DataError: It is damaged.
    """
    counts = read_mapping(path).get("class_counts")
    if counts is None:
        return None
    match counts:
        case {"masks": int(masks), "pixels": list(pixels), "images": list(images)} if all(
            type(number) is int and number >= 0 for number in (masks, *pixels, *images)
        ):
            return ClassCounts(masks, pixels, images)
    raise DataError(f"{path} is damaged: class_counts should hold masks, and pixels and images of each class")


def holds_config(path: Path, keys: set[str]) -> bool:
    """Whether a file is a config with some keys, because another program may use the same file name.

    Raises:
        DataError: It cannot be read.
    """
    config = read_yaml(path)
    return isinstance(config, dict) and config.keys() >= keys


def read_json(path: Path) -> Any:
    """Read a JSON file.

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
    """Like `read_json`, for a file that holds one JSON object."""
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
            others = Phase(**entry).needs
            named = re.fullmatch(r"[\w-]+", entry["name"]) and re.fullmatch(r"\w+", entry["trainee"])
            if not named or entry["name"] in names or not others <= names or entry["steps"] < 1:
                wrong = [f"phase {number} ({entry['name']}) is not a valid phase"]
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


def read_phase(path: Path, name: str) -> PhaseRecord:
    """Read the record of a phase.

    Raises:
        DataError: It is damaged, or was changed after it was written.
    """
    content = read_mapping(path)
    if content.pop(DIGEST, None) != digest(content):
        raise DataError(f"{path} is damaged, or was changed after it was written: delete its folder, and resume")
    try:
        record = PhaseRecord.from_json(content)
    except TypeError as error:
        raise DataError(f"{path} is damaged, or of another version of dmtc: {error}") from None
    if record.name != name:
        raise DataError(f"{path} is damaged: it is not the record of phase {name}")
    return record
