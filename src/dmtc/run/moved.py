"""Data, lists and starting weights that moved since a run began: which settings are places, and how to change them.

A path cannot change results if its content is the same. So these settings may be changed for an existing run; whatever
uses the new place compares its content with the run's record.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.config.places import DATA_PLACES, LIST_PLACES
from dmtc.core.errors import ConfigError

_WEIGHTS = "model.weights."


def is_place(key: str) -> bool:
    """Whether a dotted config key is the path of data, a list or weights."""
    return key in (*DATA_PLACES, *LIST_PLACES) or key.startswith(_WEIGHTS)


def same_kind(before: Any, after: Any) -> bool:
    """Whether two values of a place differ only in the path: a weight file cannot become a download or none."""
    return is_path(before) == is_path(after) and (is_path(before) or before == after)


def is_path(value: Any) -> bool:
    """Whether the value of `model.weights.X` names a file."""
    return isinstance(value, str) and value != "imagenet"


def is_weights(key: str) -> bool:
    """Whether a key names the starting weights of a network."""
    return key.startswith(_WEIGHTS)


def relocated(config: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run with new places.

    Args:
        config: The run's config, settled.
        places: Paths by dotted key, such as "dataset.root".

    Raises:
        ConfigError: A key is not a place, the run has no such setting, or a weight file would change its kind.

    Examples:
        >>> relocated({"dataset": {"name": "voc", "root": "/old"}}, {"dataset.root": "/new"})
        {'dataset': {'name': 'voc', 'root': '/new'}}
    """
    moved = copy.deepcopy(dict(config))
    for key, value in places.items():
        if not is_place(key):
            raise ConfigError(f"{key} is not the place of data or weights, so it cannot be changed for a run")
        *outer, last = key.split(".")
        part = moved
        for name in outer:
            part = part.get(name)
            if not isinstance(part, dict):
                break
        if not isinstance(part, dict) or last not in part:
            dataset = (config.get("dataset") or {}).get("name")
            raise ConfigError(f"the run has no setting {key} (its data set is {dataset})")
        if is_weights(key) and not same_kind(part[last], value):
            raise ConfigError(f"{key} was {part[last]} when the run began, and cannot become {value}")
        part[last] = value
    return moved


def found_from(directory: Path, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a data set, with relative paths resolved from a run's working directory if they exist there.

    Args:
        directory: The working directory when the run started.
        dataset: The settings.
    """
    if directory == Path.cwd():
        return dict(dataset)

    def found(given: Any) -> Any:
        if isinstance(given, list):
            return [found(one) for one in given]
        from_there = directory / given if isinstance(given, str) else None
        return str(from_there) if from_there is not None and from_there.exists() else given

    # The content of other places is already recorded, or made in the current directory.
    files = ("root", "images", "masks", "unlabelled", "val", "test")
    return {key: found(value) if key in files else value for key, value in dataset.items()}


def places_among(overrides: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The places given on a command line, by dotted key.

    Args:
        overrides: Hydra's overrides, such as "dataset.root=/new".
        config: The composed config.

    Examples:
        >>> places_among(["dataset.root=/new", "run.workers=2"], {"dataset": {"root": "/new"}})
        {'dataset.root': '/new'}
    """
    found = {}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        value: Any = config
        for name in key.split(".") if is_place(key) else ():
            value = value.get(name) if isinstance(value, Mapping) else None
        if is_place(key):
            found[key] = value
    return found
