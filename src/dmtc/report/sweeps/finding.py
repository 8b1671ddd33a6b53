"""Finding all runs below a folder, finished or not, with their settings."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from dmtc.core.errors import DataError, UserError
from dmtc.core.files import read_regular
from dmtc.run.changes import settings_that_count
from dmtc.run.folder import RunFolder
from dmtc.run.moved import is_path
from dmtc.run.origin import require_own_settings
from dmtc.run.sweep_folder import STATUS_NAME, SweepFolder, read_status

FILES_OF_VALIDATION, FILES_OF_LABELLED = "dataset.validation_files", "split.labelled_files"
"""Extra settings of runs, not in their config: the first digits of SHA-256 hashes of file contents."""
LENGTHS = ("schedule.rounds", "schedule.start.steps", "schedule.start.epochs", "schedule.limit_steps")
"""Settings that, in a run without rounds, set nothing but its number of steps."""


_OF_NO_SCORE = ("evaluation.metrics", "evaluation.metric_options", "run.monitor")
"""Settings of numbers beside mIoU and of the best weights, which make no other run: the last weights are compared."""

_OF_RESULTS = ("method", "dataset", "seed", "seconds", "device", "phases", "per_class_iou", "environment")
"""What a report needs of results.json, besides the split and the scores."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What a report needs of a run.

    Attributes:
        path: Its folder.
        name: Its path relative to the searched folder.
        state: "unfinished" may be running, waiting or stopped; the folder does not show which.
        reason: Why it is not finished.
        settings: Dotted keys of the config and their values, without those that cannot change results; empty if the
            folder has no config.
        overrides: Keys set on the command line.
        results: The content of results.json; empty unless finished.
    """

    path: Path
    name: str
    state: Literal["finished", "failed", "unfinished", "not started"]
    reason: str
    settings: dict[str, Any]
    overrides: frozenset[str]
    results: dict[str, Any]

    @property
    def method(self) -> str:
        """Its method; "?" if unknown."""
        return str(self.results.get("method") or self.settings.get("method.name") or "?")

    @property
    def score(self) -> float:
        """The mIoU of the last weights in [0, 1], averaged over the run's networks."""
        return self.results["miou"]["mean_last"]


def read_runs(folder: Path) -> list[RunRecord]:
    """All runs in a folder and its subfolders, and the jobs of sweeps that never started.

    Raises:
        DataError: There is no such folder, or it contains no runs.
    """
    if not folder.is_dir():
        raise DataError(f"no finished run below {folder}: there is no such folder")
    records: list[RunRecord] = []
    for path, is_run in _walk(folder):
        name = str(path.relative_to(folder)) if path != folder else path.name
        if is_run:
            records.append(_read_run(path, name))
        else:
            records += _never_started(SweepFolder(path))
    if not records:
        raise DataError(f"no finished run below {folder}: no results.json is there")
    return records


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Folders of runs and sweeps, in order, without entering folders of runs, which may contain many files."""
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = set(files)
        is_run = bool({"results.json", STATUS_NAME} & names or {"config.yaml", "environment.json"} <= names)
        if is_run:
            folders.clear()
        if is_run or "sweep.json" in names:
            yield Path(path), is_run


def _read_run(path: Path, name: str) -> RunRecord:
    settings, state, reason = {}, "finished", ""
    results: dict[str, Any] = {}
    try:
        settings = _settings(path)
        results = json.loads(read_regular(path / "results.json"))
        _ = [results[key] for key in _OF_RESULTS]
        _ = (
            [results["split"][key] for key in ("ratio", "labelled", "unlabelled", "sha256")],
            results["miou"]["ensemble"],
        )
        if not math.isfinite(results["miou"]["mean_last"]):
            results, state = {}, "failed"
            reason = "its mIoU is NaN, because a class is absent and evaluation.absent=undefined"
    except UserError as error:
        results, state, reason = {}, "failed", str(error)
    except FileNotFoundError:
        state, reason = _why_not_finished(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        results, state, reason = {}, "failed", f"results.json is damaged: {what}"
    settings = {key: value for key, value in settings.items() if not _matches(key, _OF_NO_SCORE)}
    phases = results["phases"] if results else ()
    if phases and not any(phase.get("label_from") or phase.get("teacher") for phase in phases):
        settings = {key: value for key, value in settings.items() if not _matches(key, LENGTHS)}
        settings["steps"] = sum(phase["steps"] for phase in phases)
    if results:
        settings["seed"] = results["seed"]
    return RunRecord(path, name, state, reason, settings, _overrides(path), results)


def _why_not_finished(path: Path) -> tuple[Literal["failed", "unfinished"], str]:
    status, far = read_status(path), _how_far(path)
    if status is not None and status.state == "failed":
        return "failed", status.reason or "for an unknown reason"
    return "unfinished", far


def _how_far(path: Path) -> str:
    """The progress of a run, and the time of its last sign of life."""
    folder = RunFolder(path)
    files = [path / "metrics.jsonl", path / "config.yaml", path / STATUS_NAME]
    last = max((file.stat().st_mtime for file in files if file.is_file()), default=None)
    sign = "" if last is None else f", last sign at {datetime.fromtimestamp(last):%Y-%m-%d %H:%M}"
    try:
        plan = folder.read_plan()
        done = sum(folder.read_phase(phase.name) is not None for phase in plan)
    except (DataError, TypeError):
        return f"nothing is trained yet{sign}"
    now = f", now {plan[done].name}" if done < len(plan) else ""
    return f"{done} of {len(plan)} phases done{now}{sign}"


def _never_started(sweep: SweepFolder) -> list[RunRecord]:
    """Jobs of a sweep without a run folder."""
    started = {status.overrides for status in sweep.statuses()}
    return [
        RunRecord(
            sweep.path,
            job.name,
            "not started",
            job.refused or "waiting for earlier jobs, or the sweep was stopped",
            {},
            frozenset(),
            {},
        )
        for job in sweep.read_jobs()
        if job.overrides not in started
    ]


def _settings(path: Path) -> dict[str, Any]:
    """The settings that can change a run's results; empty without a config.

    Raises:
        ConfigError: The config was changed after the run started.
        DataError: A file of the run is damaged.
    """
    folder = RunFolder(path)
    if not folder.config_path.is_file():
        return {}
    try:
        config = folder.read_config()
        if folder.has_settings():
            require_own_settings(folder, config)
    except (LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{folder.config_path} is damaged ({type(error).__name__}: {error})") from None
    counting = settings_that_count(config)
    settings = {key: counting.get(key, value) for key, value in _flat(config).items() if _counts(key, counting)}
    starting = folder.read_settings()["starting_weights"] if folder.has_settings() else {}
    for network, source in (config.get("model", {}).get("weights") or {}).items():
        key = f"model.weights.{network}"
        if is_path(source):  # paths differ between machines
            sha256 = starting.get(network)
            settings[key] = Path(source).name if sha256 is None else f"{sha256[:8]}..."
    if folder.has_split():
        data = folder.read_data()
        settings[FILES_OF_VALIDATION] = data.scored_sha256[:8]
        settings[FILES_OF_LABELLED] = data.labelled_sha256[:8]
    return settings


def _counts(key: str, counting: Mapping[str, Any]) -> bool:
    """Whether a key affects results, or is a part with such keys."""
    return key in counting or any(other.startswith(f"{key}.") for other in counting)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and values; the value of a part is its name, so that null differs from any choice."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= {name: value.get("name", "on")} if prefix else {}
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _matches(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _overrides(path: Path) -> frozenset[str]:
    """Keys set on the command line, as in the config."""
    status = read_status(path)
    given = status.overrides if status else ()
    if not given:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            given = json.loads(read_regular(path / "environment.json"))["command"]
    keys = (str(override).partition("=")[0].lstrip("+~").partition("@")[0] for override in given if "=" in override)
    return frozenset(key.replace("/", ".") for key in keys)
