"""Fingerprints of what each part of a run was made from, so parts of two runs never mix in one folder.

`settings.json` keeps the settings that can change results, as they were when the run began. A phase's record and
checkpoints hold the fingerprints of these settings, the split, and the weights and pseudo-labels the phase started
from.
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
from dmtc.run.ranking import ranking_sha256
from dmtc.schedule import Phase
from dmtc.splits import Split
from dmtc.tracking.phase_record import PhaseRecord

Origin = dict[str, str | None]
"""Fingerprints of `settings`, `split`, `weights` and `pseudo_labels`, None for what a phase does not have; and of the
`ranking` that chooses its images, if there is one."""


def fingerprint(config: Mapping[str, Any]) -> str:
    """SHA-256 of the settings that can change results."""
    return _digest(settings_that_count(config))


def require_own_settings(folder: RunFolder, config: Mapping[str, Any]) -> str:
    """Check that a config has the settings a run began with.

    Args:
        folder: The run's folder.
        config: The config to build the run's parts from.

    Returns:
        The fingerprint of the settings, which the run's phases hold.

    Raises:
        ConfigError: A setting that can change results differs; the message says which.
        DataError: The settings the run began with are missing or damaged.
    """
    recorded = folder.read_settings()
    path = folder.config_path
    refuse_changes(recorded["settings"], settings_that_count(config), f"{path} was changed after the run started")
    return recorded["sha256"]


def write_settings(folder: RunFolder, config: Mapping[str, Any], starting_weights: Mapping[str, str | None]) -> None:
    """Record the settings a run begins with; settings already recorded stay.

    Args:
        folder: The run's folder.
        config: The settled config.
        starting_weights: SHA-256 of the weight file of each network that has not been trained yet.

    Raises:
        DataError: A weight file has changed since the run began.
    """
    recorded = folder.read_settings() if folder.has_settings() else None
    known = {} if recorded is None else recorded["starting_weights"]
    for network, sha256 in starting_weights.items():
        if known.get(network, sha256) != sha256:
            raise DataError(
                f"model.weights.{network}: {config['model']['weights'][network]} is another file than when"
                f" {folder.path} began (SHA-256 {_short(sha256)} instead of {_short(known[network])});"
                f" give the path of the original, or start a new run"
            )
    if recorded is None:
        settings = settings_that_count(config)
        recorded = {"sha256": _digest(settings), "settings": settings}
    folder.write_settings(recorded | {"starting_weights": known | dict(starting_weights)})


def origin_of(folder: RunFolder, phase: Phase, split: Split, before: PhaseRecord | None) -> Origin:
    """The fingerprints of what a phase is made from.

    Args:
        folder: The run's folder.
        phase: The phase.
        split: The run's split.
        before: The record of the phase it continues from, if any.
    """
    settings = folder.read_settings()
    starting = settings["starting_weights"].get(phase.trainee)
    origin = {
        "settings": settings["sha256"],
        "split": split.sha256,
        "weights": starting if before is None else weights_sha256(before),
        "pseudo_labels": None if phase.label_from is None else folder.store(phase.label_from).sha256(),
    }
    return origin if phase.ranked_by is None else origin | {"ranking": ranking_sha256(folder, phase.ranked_by)}


def weights_sha256(record: PhaseRecord | None, which: str = "last") -> str | None:
    """SHA-256 of a phase's weights from its record; None for a phase that is not done."""
    return None if record is None else record.weights.get(which)


def load_network(folder: RunFolder, model: SegmentationModel, phase: str, which: str = "last") -> None:
    """Load the weights of a phase into a network, which must match them exactly.

    Args:
        folder: The run's folder.
        model: Built like the run's network.
        phase: Name of the phase.
        which: "last" or "best".

    Raises:
        WeightsError: The file is missing, damaged, or not the one the phase wrote.
    """
    path, record = folder.weights_path(phase, which), folder.read_phase(phase)
    remedy = f"resume with: {folder.resume_command}"
    if record is not None:
        remedy = f"put it back, or delete {path.parent} to train the phase again and {remedy}"
    load_own_weights(model, path, weights_sha256(record, which), remedy)


def require_one_run(folder: RunFolder, plan: Sequence[Phase], split: Split, settings: str) -> None:
    """Check that the phases in a folder come from one run: from these settings, this split, and each other.

    Args:
        folder: The run's folder.
        plan: Its phases.
        split: Its split.
        settings: Fingerprint of its settings.

    Raises:
        ConfigError: Phases were made with other settings.
        DataError: They were made with another split or plan, or from weights that have since been retrained.
    """
    records = {phase.name: record for phase in plan if (record := folder.read_phase(phase.name)) is not None}
    for phase in plan:
        record = records.get(phase.name)
        if record is None:
            continue
        for key in ("trainee", "label_from", "teacher", "label_ratio", "steps"):
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
                f" there now; delete phases/{phase.name} and those after it to retrain them"
            )


def require_origin(folder: RunFolder, phase: Phase, origin: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a phase was made from what is there now.

    Args:
        folder: The run's folder.
        phase: The phase.
        origin: Fingerprints in its record or checkpoint.
        now: Fingerprints of what is there now.

    Raises:
        ConfigError: It was made with other settings.
        DataError: It was made from something else.
    """
    for what, found in now.items():
        if origin.get(what) == found:
            continue
        prefix = f"{folder.path}: phase {phase.name} was made"
        if what == "settings":
            config = folder.config_path.name
            raise ConfigError(f"{prefix} with other settings than {config} has now: put them back, or start a new run")
        names = {"split": "a split other than split.json", "weights": "other weights", "pseudo_labels": "other labels"}
        names["ranking"] = "another ranking"
        again = f"delete phases/{phase.name} and those after it"
        raise DataError(f"{prefix} with {names[what]} than there is now; put it back, or {again}")


def _short(sha256: str | None) -> str:
    return "none" if sha256 is None else sha256[:8]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
