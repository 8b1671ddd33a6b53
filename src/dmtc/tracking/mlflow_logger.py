"""MLflow."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.core.types import UInt8Array
from dmtc.data import Dataset
from dmtc.evaluation.scores import Scores
from dmtc.tracking.artifacts import report_files, require_known_artifacts, weights_files
from dmtc.tracking.panel import Panel
from dmtc.tracking.part_scores import part_scores
from dmtc.tracking.phase_record import PhaseRecord
from dmtc.tracking.tracker import LOGGERS, Record, Tracker
from dmtc.tracking.values import ensemble_values, final_values, phase_values

_ARTIFACTS = ("report", "weights")
_ADDRESS = ("phase", "network", "step", "total_step")
_RUN_ID = "dmtc.run_id"
_MOST_PARAMS, _LONGEST_PARAM = 100, 6000
"""What MLflow takes at once."""


@LOGGERS.register("mlflow")
class MLflowLogger(Tracker):
    """MLflow: settings as params, every record, the scores of every round with panels of images, the final scores.

    MLflow gives its runs ids of its own; the run's id is their tag `dmtc.run_id`, by which a resumed run finds its own.

    Args:
        folder: The run's folder.
        config: Resolved config.
        environment: Versions and machine, and the run's id.
        dataset: Names and colors of the classes.
        tracking_uri: Server, or database file such as `sqlite:///mlflow.db`; null for MLflow's default.
        experiment: Name of the experiment, which is created if there is none.
        group: Name shared by the runs of a sweep, kept as the tag `sweep`.
        tags: Further tags.
        panels: How many fixed and how many worst images to show after every phase; 0 for none.
        ensemble: Whether to score the ensemble of several networks after every round.
        artifacts: What to upload at the end: "report", "weights".
        timeout: Seconds to wait for an answer of the server.
    """

    def __init__(
        self,
        *,
        folder: Path,
        config: dict[str, Any],
        environment: dict[str, Any],
        dataset: Dataset,
        tracking_uri: str | None,
        experiment: str,
        group: str | None,
        tags: dict[str, str],
        panels: int,
        ensemble: bool,
        artifacts: list[str],
        timeout: int,
    ) -> None:
        require_known_artifacts("mlflow", artifacts, _ARTIFACTS)
        # MLflow reads these from the environment only, and by default tries a server that is gone for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        try:
            from mlflow import entities  # pyright: ignore[reportMissingImports]  # optional
            from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError("logger=mlflow needs the package mlflow: pip install 'dmtc[mlflow]'") from None
        logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # it tells of every table of a new database
        self._entities = entities
        self._folder = folder
        self._dataset = dataset
        self._artifacts = artifacts
        self.panels = panels
        self.wants_ensemble = ensemble
        own = {
            _RUN_ID: environment["run_id"],
            "dmtc.folder": str(folder.absolute()),
            "mlflow.source.name": " ".join(environment["command"]),
            "mlflow.source.git.commit": environment["commit"] or "",
            "sweep": group or "",
        }
        try:
            self._client = MlflowClient(tracking_uri)
            self._id = self._run_of(experiment, folder.name, {**{k: v for k, v in own.items() if v}, **tags})
            self._log_params(config)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ConnectionError(
                f"{reason}; logger.mlflow.tracking_uri=sqlite:///mlflow.db needs no server"
            ) from error

    def log(self, record: Record) -> None:
        """Send one record under its network's letter, against the network's total steps over all phases."""
        values = {f"{record['network']}/{name}": value for name, value in record.items() if name not in _ADDRESS}
        self._log(values, int(record["total_step"]))

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Send the scores of a phase against the round, and the panels."""
        self._log(phase_values(record, self._dataset.classes), record.round)
        for panel in panels:
            self._draw(f"images/{record.trainee}/{panel.id}", panel, record.round)
        for place, panel in enumerate(worst, 1):
            self._draw(f"worst/{record.trainee}/{place}", panel, record.round)

    def ensemble(self, number: int, scores: Scores) -> None:
        """Send the scores of the ensemble against the round."""
        self._log(ensemble_values(scores, self._dataset.classes), number)

    def picture(self, name: str, image: UInt8Array) -> None:
        """Send a picture of the finished run as the artifact `final/NAME.png`."""
        self._client.log_image(self._id, image, artifact_file=f"final/{name}.png")

    def finish(self, results: Mapping[str, Any]) -> None:
        """Send the final scores, upload any requested artifacts, and mark the run as finished."""
        self._log(final_values(results), 0)
        if rows := part_scores(results):
            table = {"columns": ["score", "of", "validation", "test"], "data": [list(row) for row in rows]}
            self._client.log_dict(self._id, table, "final/parts.json")
        if "report" in self._artifacts:
            self._upload("report", report_files(self._folder))
        if "weights" in self._artifacts:
            self._upload("weights", weights_files(self._folder, results))
        self._client.set_terminated(self._id, "FINISHED")

    def close(self) -> None:
        """Mark the run as stopped."""
        self._client.set_terminated(self._id, "KILLED")

    def _run_of(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """MLflow's id of the run, which goes on if there is one, or else begins."""
        where = self._experiment(experiment)
        found = self._client.search_runs([where], f"tags.`{_RUN_ID}` = '{tags[_RUN_ID]}'", max_results=1)
        if not found:
            return self._client.create_run(where, tags=dict(tags), run_name=name).info.run_id
        self._client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0].info.run_id

    def _experiment(self, name: str) -> str:
        """The id of the experiment; another process may create it at the same time."""
        if (found := self._client.get_experiment_by_name(name)) is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(name)
        except Exception:
            if (found := self._client.get_experiment_by_name(name)) is None:
                raise
            return found.experiment_id

    def _log_params(self, config: Mapping[str, Any]) -> None:
        """Send the settings. Those that MLflow has stay, as it lets none be changed: a resumed run may have others."""
        known = self._client.get_run(self._id).data.params
        params = {_allowed(key): value[:_LONGEST_PARAM] for key, value in _flat(config)}
        new = [self._entities.Param(key, value) for key, value in params.items() if key not in known]
        for first in range(0, len(new), _MOST_PARAMS):
            self._client.log_batch(self._id, params=new[first : first + _MOST_PARAMS])

    def _log(self, values: Mapping[str, float | int | str], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(_allowed(name), value, now, step)
            for name, value in values.items()
            if not isinstance(value, str)
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def _draw(self, key: str, panel: Panel, at: int) -> None:
        self._client.log_image(self._id, panel.in_a_row(self._dataset.colored), key=_allowed(key), step=at)

    def _upload(self, name: str, files: Sequence[Path]) -> None:
        for path in files:
            inside = path.relative_to(self._folder).parent
            self._client.log_artifact(self._id, str(path), str(name / inside))


def _allowed(name: str) -> str:
    """A name in the characters that MLflow takes: classes, images and options may have others."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings under dotted names; lists, numbers and words as JSON writes them, but words without quotes."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
