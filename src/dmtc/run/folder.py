"""Layout of a run folder. Only this module knows the file names; two runs never share a file.

config.yaml  environment.json  split.json  plan.json       what to do, with which code and images
settings.json                                              the original settings that can change results
task.json                                                  classes and colors, for when the data set is missing
metrics.jsonl                                              values logged while training
phases/<phase>/{last,best}.safetensors, phase.json         a phase's networks; phase.json marks it as done
phases/<phase>/step-<step>.safetensors, ranking.json       weights kept on the way, and the images ranked by them
phases/<phase>/checkpoint-<step>-<hash>.pt                 the last two of an unfinished phase
phases/<phase>/metrics.jsonl                               its values, while a process other than the first trains it
phases/<start>/starting_weights.json                       which tensors of which file a network starts from
pseudo_labels/<teacher phase>/                             a teacher's predictions for the unlabelled images
results.json  results.txt                                  results
report.html  report/  pictures/                            results to look at
.lock                                                      held by the process that writes here
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from dmtc.core.class_counts import ClassCounts
from dmtc.core.command import command
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import read_regular, remove_unfinished, write_atomically, write_json
from dmtc.core.yaml_files import read_text
from dmtc.data.record import DataRecord
from dmtc.data.task import Task
from dmtc.pseudo.store import PseudoLabelStore
from dmtc.run import stored
from dmtc.run.checkpoints import Checkpoints
from dmtc.run.moved import found_from
from dmtc.run.stored import LARGEST
from dmtc.schedule import Phase
from dmtc.schedule.phase import plan_to_json
from dmtc.splits import Split
from dmtc.tracking.phase_record import PhaseRecord


class RunFolder:
    """Paths of a run, and reading and writing of its small files."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    @classmethod
    def existing(cls, path: str | Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            DataError: It is not a run folder.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise DataError(f"no run folder {path}: there is no such folder")
        if not folder.config_path.is_file():
            raise DataError(
                f"{path} is not a run folder: it has no {folder.config_path.name} (a run that was stopped before it"
                " wrote one has done nothing yet: start it again)"
            )
        return folder

    @property
    def resume_command(self) -> str:
        """What to type to resume the run."""
        return command(f"resume={self.path}")

    @property
    def lock_path(self) -> Path:
        """Lock held by the process that writes here."""
        return self.path / ".lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here. The system releases the lock however its process ends.

        Raises:
            ConfigError: Another process is writing here.
        """
        path = self.lock_path
        lock = FileLock(path, timeout=0)
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            holder = self._holder() or "another process"
            raise ConfigError(
                f"{self.path} is in use by {holder}: let it end first, or choose another folder with hydra.run.dir=DIR"
            ) from None
        try:
            try:
                path.write_text(f"process {os.getpid()} on {platform.node()}")
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
            yield
        finally:
            lock.release()

    def _holder(self) -> str:
        try:
            return read_regular(self.lock_path).decode(errors="replace")
        except (OSError, DataError):
            return ""

    @property
    def config_path(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def results_path(self) -> Path:
        """Results; written last, so a run that has them is finished."""
        return self.path / "results.json"

    def weights_path(self, phase: str, which: str = "last") -> Path:
        """A phase's network; `which` is "last" or "best"."""
        return self.path / "phases" / phase / f"{which}.safetensors"

    def metrics_of_phase_path(self, phase: str) -> Path:
        """Like `metrics_path`, for a phase in training by a process other than the first one."""
        return self.path / "phases" / phase / "metrics.jsonl"

    def checkpoints(self, phase: str) -> Checkpoints:
        """The checkpoints of an unfinished phase."""
        return Checkpoints(self.path / "phases" / phase)

    def tidy(self) -> None:
        """Delete half-written files of a killed run, or of a killed job in its folder."""
        remove_unfinished(self.path)

    def store(self, teacher_phase: str) -> PseudoLabelStore:
        """The predictions of a phase's last network for the unlabelled images."""
        return PseudoLabelStore(self.path / "pseudo_labels" / teacher_phase)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the resolved config."""
        write_atomically(self.config_path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True), durable=True)

    def read_config(self) -> dict[str, Any]:
        """Read the resolved config.

        Raises:
            DataError: It is damaged.
        """
        config = stored.read_config(self.config_path)
        config["dataset"] = found_from(self._directory(), config["dataset"])
        return config

    def _directory(self) -> Path:
        """The run's working directory, or the current one if unknown."""
        return Path(str(self.read_environment().get("directory", Path.cwd())))

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings the run began with, and the hashes of its starting weights."""
        write_json(self.path / "settings.json", settings)

    def has_settings(self) -> bool:
        """Whether the settings the run began with were written, which happens before the split."""
        return (self.path / "settings.json").is_file() or self.has_split()

    def read_settings(self) -> dict[str, Any]:
        """The settings the run began with: `sha256`, `settings`, `starting_weights`.

        Raises:
            DataError: They are missing or damaged.
        """
        path = self._existing("settings.json")
        try:
            content = stored.read_mapping(path)
            return {"sha256": str(content["sha256"])} | {k: dict(content[k]) for k in ("settings", "starting_weights")}
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged: {type(error).__name__}: {error}") from None

    def _existing(self, name: str) -> Path:
        """The path of a file that every run has from its start."""
        path = self.path / name
        if not path.is_file():
            raise DataError(f"{self.path} is damaged, or of another version of dmtc: it has no {name}")
        return path

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Write versions, machine and command."""
        write_json(self.path / "environment.json", environment)

    def read_environment(self) -> dict[str, Any]:
        """Versions, machine and command; empty if they are not known."""
        try:
            return stored.read_mapping(self.path / "environment.json")
        except DataError:
            return {}

    def write_split(self, split: Split, data: DataRecord, class_counts: ClassCounts | None = None) -> None:
        """Write which images are labelled, with their hash, what their masks hold, and the record of the files."""
        content = json.loads(split.to_json()) | {"data": data.to_json()}
        content |= {} if class_counts is None else {"class_counts": asdict(class_counts)}
        write_atomically(self.path / "split.json", json.dumps(content, indent=1) + "\n", durable=True)

    def has_split(self) -> bool:
        """Whether the split was written, which happens before the plan."""
        return (self.path / "split.json").is_file() or self.has_plan()

    def read_split(self) -> Split:
        """Read which images are labelled and which are not."""
        path = self.path / "split.json"
        try:
            return Split.from_json(read_text(path, LARGEST))
        except DataError as error:
            raise DataError(f"{path} is damaged: {str(error).removeprefix(f'{path}: ')}") from None

    def read_class_counts(self) -> ClassCounts | None:
        """What the labelled images' masks hold of each class; None if the run does not need it."""
        return stored.read_class_counts(self.path / "split.json") if self.has_split() else None

    def read_data(self) -> DataRecord:
        """The record of the data files from when the run began.

        Raises:
            DataError: It is missing or damaged.
        """
        return stored.read_data(self.path / "split.json")

    def write_plan(self, plan: list[Phase]) -> None:
        """Write the phases."""
        write_json(self.path / "plan.json", plan_to_json(plan))

    def has_plan(self) -> bool:
        """Whether the plan was written."""
        return (self.path / "plan.json").is_file()

    def read_plan(self) -> list[Phase]:
        """Read the phases."""
        return stored.read_plan(self.path / "plan.json")

    def write_task(self, task: Task) -> None:
        """Write classes and colors."""
        write_json(self.path / "task.json", task.to_json())

    def read_task(self) -> Task:
        """Read classes and colors, which are written before the plan.

        Raises:
            DataError: They are missing or damaged.
        """
        return stored.read_task(self._existing("task.json"))

    def write_phase(self, record: PhaseRecord) -> None:
        """Write the record of a phase, which marks it as done."""
        content = json.loads(json.dumps(record.to_json()))
        path = self.path / "phases" / record.name / "phase.json"
        write_json(path, content | {stored.DIGEST: stored.digest(content)})

    def read_phase(self, name: str) -> PhaseRecord | None:
        """The record of a phase, or None if it is not done."""
        path = self.path / "phases" / name / "phase.json"
        return stored.read_phase(path, name) if path.is_file() else None

    def write_ranking(self, phase: str, ranking: dict[str, Any]) -> None:
        """Write a ranking of the images by a phase; see `dmtc.run.ranking`."""
        write_json(self.path / "phases" / phase / "ranking.json", ranking)

    def read_ranking(self, phase: str) -> dict[str, Any] | None:
        """What `write_ranking` wrote; None if there is no ranking yet."""
        path = self.path / "phases" / phase / "ranking.json"
        return stored.read_mapping(path) if path.is_file() else None

    def write_weights_report(self, phase: str, report: dict[str, Any]) -> None:
        """Write the report on loading a network's starting weights."""
        write_json(self.path / "phases" / phase / "starting_weights.json", report)

    def read_weights_report(self, phase: str) -> dict[str, Any] | None:
        """The report on loading a network's starting weights; None for a phase that continues from another."""
        path = self.path / "phases" / phase / "starting_weights.json"
        return stored.read_mapping(path) if path.is_file() else None

    def write_results(self, results: dict[str, Any], text: str) -> None:
        """Write results.json, and results.txt with the same as a readable table."""
        write_atomically(self.path / "results.txt", text)
        write_json(self.results_path, results)

    def read_results(self) -> dict[str, Any] | None:
        """The results, or None if the run is not finished."""
        return stored.read_mapping(self.results_path) if self.results_path.is_file() else None
