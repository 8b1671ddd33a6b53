"""Which images `job=evaluate` scores: a part of the run's own data, wherever it is now, or another data set."""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtc.config.places import DATA_PLACES
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError, DataError, UserError
from dmtc.data import DATASETS, Dataset
from dmtc.engine.components import Components
from dmtc.run.folder import RunFolder
from dmtc.run.same_data import differences_from_run

PARTS = ("auto", "val", "test", "all")


@dataclass(frozen=True)
class ScoredData:
    """Images with masks to score.

    Attributes:
        components: The run's components with this data set.
        ids: The images.
        part: "val", "test" or "all".
        place: Where the data is; None for the run's own.
    """

    components: Components
    ids: tuple[str, ...]
    part: str
    place: str | None

    def text(self) -> str:
        """One line that describes what is scored."""
        which = {"val": "validation images", "test": "test images", "all": "images, all that have masks,"}[self.part]
        return f"scored: {len(self.ids)} {which} of {self.place or 'the data set of the run'}"

    def file_name(self, checkpoint: str) -> str:
        """Name of the record in the run's folder, different for each data set and part."""
        if self.place is None:
            return (
                f"evaluation-{checkpoint}.json" if self.part == "val" else f"evaluation-{checkpoint}-{self.part}.json"
            )
        name = re.sub(r"[^\w-]+", "-", Path(self.place).name)[:40]
        digest = hashlib.sha256(str(Path(self.place).absolute()).encode()).hexdigest()[:8]
        return f"evaluation-{checkpoint}-{name}-{digest}-{self.part}.json"


def data_to_score(folder: RunFolder, config: Config, given: Sequence[str], parts: Sequence[str]) -> list[ScoredData]:
    """Find the images to score, of one data set.

    Args:
        folder: The run's folder.
        config: Config composed from the command line.
        given: Dotted names of the options given there; those of `dataset` name other data, or a new place of the run's.
        parts: One or more of `PARTS`; "auto" takes the validation part, else the test part, else all images with masks.

    Raises:
        ConfigError: There is no such part, or it is named twice.
        DataError: The part has no images, or the classes differ from the run's.
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"job.part should be one of {', '.join(PARTS)}, but is {part!r}")
    if len(set(parts)) < len(parts) or ("auto" in parts and len(parts) > 1):
        raise ConfigError(f"job.parts should name different ones of {', '.join(PARTS[1:])}, but is {list(parts)}")
    own = Components.of(folder, config["run"])
    keys = [key for key in given if key.startswith("dataset.")]
    other = config["dataset"]["name"] != own.config["dataset"]["name"] and "dataset" in given
    if not keys and not other:
        return [_of(own, part, None, True) for part in parts]
    try:
        moved = Components.of(folder, config["run"], {key: _value(config, key) for key in keys if key in DATA_PLACES})
        if not other and all(key in DATA_PLACES for key in keys) and not differences_from_run(folder, moved.dataset):
            return [_of(moved, part, None, True) for part in parts]
    except UserError:
        pass  # another data set, or none: handled below
    spec = _other(config, own, keys)
    components = Components(own.config | {"dataset": spec}, own.split_as_stored, own.plan, own.task, keeps=False)
    place = str(spec.get("root") or spec.get("images") or spec["name"])
    if (classes := components.dataset.classes) != own.task.classes:
        raise DataError(
            f"{place}: its classes ({', '.join(classes[:6])}) are not those of the run"
            f" ({', '.join(own.task.classes[:6])}): it cannot be scored on"
        )
    has_validation = _has_own_validation(spec, components.dataset)
    return [_of(components, part, place, has_validation) for part in parts]


def _of(components: Components, part: str, place: str | None, has_validation: bool) -> ScoredData:
    dataset = components.dataset
    if part == "auto":
        part = "val" if has_validation else "test" if dataset.test else "all"
    every = tuple(sorted({*dataset.masked, *dataset.val, *dataset.test}))
    ids = {"val": dataset.val, "test": dataset.test, "all": every}[part]
    if not ids:
        raise DataError(f"job.part={part}: {place or 'the data set of the run'} has no such images with masks")
    return ScoredData(components, ids, part, place)


def _other(config: Config, own: Components, keys: Sequence[str]) -> dict[str, Any]:
    """The settings of another data set; one of the same kind as the run's inherits the run's settings."""
    requested, of_run = config["dataset"], own.config["dataset"]
    spec = dict(requested)
    if requested["name"] == of_run["name"]:
        spec = of_run | {key: None for key in ("images", "masks", "unlabelled", "val", "test") if key in of_run}
        for key in keys:
            if key.count(".") == 1:
                spec[key.partition(".")[2]] = _value(config, key)
    return spec | {"augment": of_run["augment"]}


def _has_own_validation(spec: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether a data set defines its validation images, instead of a random share being held out."""
    if "val_fraction" not in spec:
        return True
    plain = {key: value for key, value in spec.items() if key not in ("augment", "on_error")}
    log, level = logging.getLogger("dmtc"), logging.getLogger("dmtc").level
    log.setLevel(logging.ERROR)  # the actual data set already logs the same messages
    try:
        other = DATASETS.build(plain | {"val_fraction": 0.999}, "dataset", open_test=True, keeps=False)
    except UserError:
        return False
    finally:
        log.setLevel(level)
    return set(other.val) == set(dataset.val) and spec["val_fraction"] < 0.9


def _value(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
