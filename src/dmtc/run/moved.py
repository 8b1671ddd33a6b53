"""Data, lists and starting weights at another place than when a run began: which settings are places, and new ones.

A path cannot change results where its content agrees. So these settings may be given anew for a run that is there
already; what lies at the new place is held against what the run has recorded, by whoever uses it.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.config.places import DATA_PLACES, LIST_PLACES
from dmtc.core.errors import ConfigError

_WEIGHTS = "model.weights."


def is_place(key: str) -> bool:
    """Whether a dotted key of a config says where something lies."""
    return key in (*DATA_PLACES, *LIST_PLACES) or key.startswith(_WEIGHTS)


def same_kind(before: Any, after: Any) -> bool:
    """Whether two values of a place differ in where it is alone: a file of weights is not a download, nor none."""
    return is_path(before) == is_path(after) and (is_path(before) or before == after)


def is_path(value: Any) -> bool:
    """Whether the value of `model.weights.X` names a file."""
    return isinstance(value, str) and value != "imagenet"


def is_weights(key: str) -> bool:
    """Whether a key names the starting weights of a network."""
    return key.startswith(_WEIGHTS)


def relocated(config: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run with other places in it.

    Args:
        config: As it was settled.
        places: Paths by dotted key, such as "dataset.root".

    Raises:
        ConfigError: A key is no place, or the run has no such setting.

    Examples:
        >>> relocated({"dataset": {"name": "voc", "root": "/old"}}, {"dataset.root": "/new"})
        {'dataset': {'name': 'voc', 'root': '/new'}}
    """
    moved = copy.deepcopy(dict(config))
    for key, value in places.items():
        if not is_place(key):
            raise ConfigError(f"{key} does not say where something lies, so it cannot be given anew for a run")
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
    """The settings of a data set with its folders looked up from where a run was started, as far as they are there.

    Args:
        directory: The working directory at that time.
        dataset: Settings.
    """
    if directory == Path.cwd():
        return dict(dataset)

    def found(given: Any) -> Any:
        if isinstance(given, list):
            return [found(one) for one in given]
        from_there = directory / given if isinstance(given, str) else None
        return str(from_there) if from_there is not None and from_there.exists() else given

    # What other places hold is known by now, or is made where we are.
    files = ("root", "images", "masks", "unlabelled", "val", "test")
    return {key: found(value) if key in files else value for key, value in dataset.items()}


def places_among(overrides: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The places that a command line names, by dotted key.

    Args:
        overrides: As Hydra has taken them, such as "dataset.root=/new".
        config: What they were composed to.

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
