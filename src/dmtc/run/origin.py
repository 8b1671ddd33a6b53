"""What the parts of a run were made from, so that those of two runs are never mixed in one folder.

`settings.json` keeps the settings that can change results, as they were when the run began. The record and the
checkpoints of a phase name their fingerprint, that of the split, and the weights and pseudo-labels that the phase
started from.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.core.errors import ConfigError, DataError
from dmtc.models import SegmentationModel
from dmtc.models.weights.own import load_own_weights
from dmtc.run.changes import refuse_changes, settings_that_count
from dmtc.run.folder import RunFolder
from dmtc.schedule import Phase
from dmtc.splits import Split
from dmtc.tracking.phase_record import PhaseRecord

Origin = dict[str, str | None]
"""Fingerprints by what they are of: `settings`, `split`, `weights`, `pseudo_labels`; None where there is nothing."""


def fingerprint(config: Mapping[str, Any]) -> str:
    """SHA-256 of the settings that can change results."""
    return _digest(settings_that_count(config))


def require_own_settings(folder: RunFolder, config: Mapping[str, Any]) -> str:
    """See that a config has the settings that a run began with.

    Args:
        folder: Of the run.
        config: Of which the run's parts are to be made now.

    Returns:
        The fingerprint that the run's phases carry.

    Raises:
        ConfigError: A setting that can change results is another one; the message says which.
        DataError: The settings that it began with are missing or damaged.
    """
    recorded = folder.read_settings()
    path = folder.config_path
    refuse_changes(recorded["settings"], settings_that_count(config), f"{path} was changed after the run began")
    return recorded["sha256"]


def write_settings(folder: RunFolder, config: Mapping[str, Any], starting_weights: Mapping[str, str | None]) -> None:
    """Keep the settings that a run begins with; those of a run that has begun stay.

    Args:
        folder: Of the run.
        config: Settled.
        starting_weights: SHA-256 of the file of each network whose training is still to begin.

    Raises:
        DataError: A file is another one than when the run began.
    """
    recorded = folder.read_settings() if folder.has_settings() else None
    known = {} if recorded is None else recorded["starting_weights"]
    for network, sha256 in starting_weights.items():
        if known.get(network, sha256) != sha256:
            raise DataError(
                f"model.weights.{network}: {config['model']['weights'][network]} is another file than when"
                f" {folder.path} was begun (SHA-256 {_short(sha256)} in place of {_short(known[network])});"
                f" give the place of that one, or start a new run"
            )
    if recorded is None:
        settings = settings_that_count(config)
        recorded = {"sha256": _digest(settings), "settings": settings}
    folder.write_settings(recorded | {"starting_weights": known | dict(starting_weights)})


def origin_of(folder: RunFolder, phase: Phase, split: Split, before: PhaseRecord | None) -> Origin:
    """What a phase is made from.

    Args:
        folder: Of the run.
        phase: The phase.
        split: The run's split.
        before: The record of the phase that it goes on from, if it does.
    """
    settings = folder.read_settings()
    starting = settings["starting_weights"].get(phase.trainee)
    return {
        "settings": settings["sha256"],
        "split": split.sha256,
        "weights": starting if before is None else weights_sha256(before),
        "pseudo_labels": None if phase.label_from is None else folder.store(phase.label_from).sha256(),
    }


def weights_sha256(record: PhaseRecord | None, which: str = "last") -> str | None:
    """SHA-256 of a phase's weights by its record; None of a phase that is not done."""
    return None if record is None else record.weights.get(which)


def load_network(folder: RunFolder, model: SegmentationModel, phase: str, which: str = "last") -> None:
    """Load what a phase has left into a network; all of it, and nothing else.

    Args:
        folder: Of the run.
        model: Built as the run's.
        phase: Name of the phase.
        which: "last" or "best".

    Raises:
        WeightsError: The file is missing, damaged, or another one than the phase has written.
    """
    path, record = folder.weights_path(phase, which), folder.read_phase(phase)
    remedy = f"go on with: python run.py resume={folder.path}"
    if record is not None:
        remedy = f"put it back, or delete {path.parent} to train the phase again and {remedy}"
    load_own_weights(model, path, weights_sha256(record, which), remedy)


def require_one_run(folder: RunFolder, plan: Sequence[Phase], split: Split, settings: str) -> None:
    """See that what lies in a folder was made by one run: from these settings, this split, and from each other.

    Args:
        folder: Of the run.
        plan: Its phases.
        split: Its split.
        settings: Their fingerprint.

    Raises:
        ConfigError: Phases were made with other settings.
        DataError: They were made with another split or plan, or from weights that were made anew since.
    """
    records = {phase.name: record for phase in plan if (record := folder.read_phase(phase.name)) is not None}
    for phase in plan:
        record = records.get(phase.name)
        if record is None:
            continue
        for key in ("trainee", "label_from", "label_ratio", "steps"):
            if getattr(record, key) != getattr(phase, key):
                raise DataError(
                    f"{folder.path}: phase {phase.name} was made with {key} {getattr(record, key)}, but its plan says"
                    f" {getattr(phase, key)}: plan.json or config.yaml was changed; put it back"
                )
        origin = record.made_from
        require_origin(folder, phase, origin, {"settings": settings, "split": split.sha256})
        before = records.get(phase.init_from or "")
        recorded = weights_sha256(before)
        if recorded is not None and origin.get("weights") != recorded:
            raise DataError(
                f"{folder.path}: phase {phase.name} began from other weights of {phase.init_from} than those that are"
                f" there now; delete phases/{phase.name} and those after it, to train them anew"
            )


def require_origin(folder: RunFolder, phase: Phase, origin: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that a phase was made from what is there now.

    Args:
        folder: Of the run.
        phase: The phase.
        origin: What its record or checkpoint names.
        now: The same of what is there.

    Raises:
        ConfigError: It was made with other settings.
        DataError: It was made from something else.
    """
    for what, found in now.items():
        if origin.get(what) == found:
            continue
        told = f"{folder.path}: phase {phase.name} was made"
        if what == "settings":
            raise ConfigError(
                f"{told} with other settings than {folder.config_path.name} has now: put them back, or start a new run"
            )
        names = {"split": "a split other than split.json", "weights": "other weights", "pseudo_labels": "other labels"}
        again = f"delete phases/{phase.name} and those after it"
        raise DataError(f"{told} with {names[what]} than there is now; put it back, or {again}")


def _short(sha256: str | None) -> str:
    return "none" if sha256 is None else sha256[:8]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
