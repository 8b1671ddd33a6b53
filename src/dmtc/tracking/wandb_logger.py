"""Weights & Biases."""

import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX, Float32Array, UInt8Array
from dmtc.data import Dataset
from dmtc.evaluation.scores import Scores
from dmtc.tracking.artifacts import report_files, require_known_artifacts, weights_files
from dmtc.tracking.panel import Panel
from dmtc.tracking.part_scores import part_scores
from dmtc.tracking.phase_record import PhaseRecord
from dmtc.tracking.tracker import LOGGERS, Record, Tracker
from dmtc.tracking.values import ensemble_values, final_values, phase_values

log = logging.getLogger(__name__)

_ARTIFACTS = ("code", "report", "weights")
_ADDRESS = ("phase", "network", "step", "total_step")
_BY_ROUND = ("rounds", "iou", "precision", "recall", "threshold", "realized", "images", "worst")
_TENTHS = {i: f"{i / 10:.1f} to {(i + 1) / 10:.1f}" for i in range(10)}
_WEIGHTS = {0: "0: nothing is learned"} | {i + 1: text for i, text in _TENTHS.items()}


@LOGGERS.register("wandb")
class WandbLogger(Tracker):
    """Weights & Biases: config, every record, the scores of every round with panels of images, results as summary.

    docs/wandb.md lists the keys.

    Args:
        folder: The run's folder; W&B keeps its files there.
        config: Resolved config.
        environment: Versions, machine, and the run's id, which is W&B's as well; shown as `environment` in W&B.
        dataset: Names of the classes.
        project: W&B project.
        entity: W&B user or team; null for the default.
        mode: "online", "offline" or "disabled".
        group: Name shared by the runs of a sweep.
        job_type: Kind of run.
        tags: Any words.
        panels: How many fixed images to show and how many worst images to list after every phase; 0 for none.
        ensemble: Whether to score the ensemble of several networks after every round.
        artifacts: Artifacts to upload at the end: "code", "report", "weights".
        timeout: Seconds to wait for the server at the start, and for uploads at the end.
    """

    def __init__(
        self,
        *,
        folder: Path,
        config: dict[str, Any],
        environment: dict[str, Any],
        dataset: Dataset,
        project: str,
        entity: str | None,
        mode: str,
        group: str | None,
        job_type: str | None,
        tags: list[str],
        panels: int,
        ensemble: bool,
        artifacts: list[str],
        timeout: float,
    ) -> None:
        if mode not in ("online", "offline", "disabled"):
            raise ConfigError(f"logger.wandb.mode should be online, offline or disabled, but is {mode!r}")
        require_known_artifacts("wandb", artifacts, _ARTIFACTS)
        try:
            import wandb  # heavy and optional
        except ImportError:
            raise ConfigError("logger=wandb needs the package wandb: pip install wandb") from None
        # Without a handler, its telemetry prints failures over the progress display.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        self._wandb = wandb
        self._folder = folder
        self._classes = dataset.classes
        self._artifacts = artifacts
        self.panels = panels
        self.wants_ensemble = ensemble
        settings = wandb.Settings(
            console="off",  # keeps progress bars out of the log
            silent=True,  # the message that matters is below
            init_timeout=timeout,
            finish_timeout=timeout,
            finish_timeout_raises=True,
        )
        try:
            with _without_keyboard():
                self._run = wandb.init(
                    dir=str(folder),
                    config={**config, "environment": environment},
                    project=project,
                    entity=entity,
                    mode=mode,
                    group=group,
                    job_type=job_type,
                    tags=tags,
                    name=folder.name,
                    # One W&B run per run folder, so a resumed run continues it.
                    id=environment["run_id"],
                    resume="allow",
                    reinit="create_new",  # leave a run that the user has open alone
                    settings=settings,
                )
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ConnectionError(f"{reason}; logger.wandb.mode=offline saves it locally for a later upload") from error
        self._networks: set[str] = set()
        for section in _BY_ROUND:
            self._run.define_metric(f"{section}/*", step_metric="round")
        if mode == "online":
            log.info("W&B: %s", self._run.url)
        elif mode == "offline":
            log.info("W&B offline; upload with: wandb sync %s", Path(self._run.dir).parent)

    def log(self, record: Record) -> None:
        """Send one record under its network's letter, against the network's total steps over all phases."""
        network = str(record["network"])
        if network not in self._networks:
            self._networks.add(network)
            self._run.define_metric(f"{network}/*", step_metric=f"{network}/step")
        values = {f"{network}/{name}": value for name, value in record.items() if name not in _ADDRESS}
        self._run.log({f"{network}/step": record["total_step"], **values})

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Send the scores of a phase against the round, and the panels with switchable masks."""
        network, name = record.trainee, record.name
        values: dict[str, Any] = {"round": record.round, **phase_values(record, self._classes)}
        if panels:
            values[f"images/{network}"] = [self._image(panel, name) for panel in panels]
        if worst:
            rows: list[Any] = [[name, panel.id, panel.wrong, self._image(panel, name)] for panel in worst]
            values[f"worst/{network}"] = self._wandb.Table(columns=["phase", "id", "wrong", "image"], data=rows)
        self._run.log(values)

    def ensemble(self, number: int, scores: Scores) -> None:
        """Send the scores of the ensemble against the round."""
        self._run.log({"round": number, **ensemble_values(scores, self._classes)})

    def picture(self, name: str, image: UInt8Array) -> None:
        """Send a picture of the finished run as `final/NAME`."""
        self._run.log({f"final/{name}": self._wandb.Image(image)})

    def finish(self, results: Mapping[str, Any]) -> None:
        """Send the results as the run's summary, upload any requested artifacts, and close."""
        summary = {key: value for key, value in results.items() if key != "confusion"}
        if test := results.get("test"):
            summary["test"] = {key: value for key, value in test.items() if key != "confusion"}
        self._run.summary.update(summary)
        self._run.log(final_values(results))  # logged, as sweeps follow no value that is only in the summary
        if rows := part_scores(results):
            data: list[Any] = [list(row) for row in rows]
            table = self._wandb.Table(columns=["score", "of", "validation", "test"], data=data)
            self._run.log({"final/parts": table})
        if "code" in self._artifacts:
            source = Path(dmtc.__file__).parent
            self._run.log_code(str(source), f"code-{self._run.id}", lambda path: path.endswith((".py", ".yaml")))
        if "report" in self._artifacts:
            self._run.log_artifact(self._artifact("report", "report", report_files(self._folder)))
        if "weights" in self._artifacts:
            self._run.log_artifact(self._artifact("weights", "model", weights_files(self._folder, results)))
        self._run.finish()

    def close(self) -> None:
        """Close the run, marked as failed."""
        self._run.finish(exit_code=1)

    def _image(self, panel: Panel, phase: str) -> Any:
        classes = {**dict(enumerate(self._classes)), IGNORE_INDEX: "ignored"}
        masks = {
            name: {"mask_data": label, "class_labels": classes}
            for name, label in (
                ("truth", panel.truth),
                ("pseudo-label", panel.pseudo_label),
                ("prediction", panel.prediction),
            )
            if label is not None
        }
        if panel.confidence is not None:
            masks["confidence"] = {"mask_data": _tenth(panel.confidence), "class_labels": _TENTHS}
        if panel.weight is not None:
            weight = np.where(panel.weight > 0, 1 + _tenth(panel.weight), 0).astype(np.uint8)
            masks["weight"] = {"mask_data": weight, "class_labels": _WEIGHTS}
        return self._wandb.Image(panel.image, masks=masks, caption=f"{phase} {panel.id}")

    def _artifact(self, name: str, kind: str, files: Sequence[Path]) -> Any:
        artifact = self._wandb.Artifact(f"{name}-{self._run.id}", type=kind)
        for path in files:
            artifact.add_file(str(path), str(path.relative_to(self._folder)))
        return artifact


def _tenth(values: Float32Array) -> UInt8Array:
    """Which tenth of [0, 1] each value is in, because W&B masks show only classes."""
    return np.clip(values * 10, 0, 9).astype(np.uint8)


@contextmanager
def _without_keyboard() -> Iterator[None]:
    """Hide the keyboard, so W&B raises an error for a missing key instead of waiting for input."""
    keyboard, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = keyboard
