"""TensorBoard."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.core.types import UInt8Array
from dmtc.data import Dataset
from dmtc.evaluation.scores import Scores
from dmtc.tracking.panel import Panel
from dmtc.tracking.phase_record import PhaseRecord
from dmtc.tracking.tracker import LOGGERS, Record, Tracker
from dmtc.tracking.values import ensemble_values, phase_values


@LOGGERS.register("tensorboard")
class TensorBoardLogger(Tracker):
    """TensorBoard: every record, the scores of every round with panels of images, settings and results as hparams.

    Its files are in `tensorboard/` in the run's folder: `tensorboard --logdir outputs`.

    Args:
        folder: The run's folder.
        config: Resolved config.
        dataset: Names and colors of the classes.
        panels: How many fixed and how many worst images to show after every phase; 0 for none.
        ensemble: Whether to score the ensemble of several networks after every round.
    """

    def __init__(self, *, folder: Path, config: dict[str, Any], dataset: Dataset, panels: int, ensemble: bool) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter  # needs an optional package
        except ImportError:
            raise ConfigError("logger=tensorboard needs the package tensorboard: pip install tensorboard") from None
        self._dataset = dataset
        self._config = config
        self.panels = panels
        self.wants_ensemble = ensemble
        self._writer = SummaryWriter(str(folder / "tensorboard"))
        self._writer.add_text("config", f"```\n{json.dumps(config, indent=2)}\n```")

    def log(self, record: Record) -> None:
        """Write one record under its network's letter, against the network's total steps over all phases."""
        for name, value in record.items():
            if name not in ("phase", "network", "step", "total_step"):
                self._writer.add_scalar(f"{record['network']}/{name}", value, int(record["total_step"]))

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Write the scores of a phase against the round, and the panels."""
        for name, value in phase_values(record, self._dataset.classes).items():
            self._writer.add_scalar(name, value, record.round)
        for panel in panels:
            self._draw(f"images/{record.trainee}/{panel.id}", panel, record.round)
        for place, panel in enumerate(worst, 1):
            self._draw(f"worst/{record.trainee}/{place}", panel, record.round)

    def ensemble(self, number: int, scores: Scores) -> None:
        """Write the scores of the ensemble against the round."""
        for name, value in ensemble_values(scores, self._dataset.classes).items():
            self._writer.add_scalar(name, value, number)

    def picture(self, name: str, image: UInt8Array) -> None:
        """Write a picture of the finished run as `final/NAME`."""
        self._writer.add_image(f"final/{name}", image, dataformats="HWC")

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write settings and scores for TensorBoard's HPARAMS page, and close."""
        settings = {"method": results["method"], "dataset": results["dataset"], "ratio": results["split"]["ratio"]}
        scores = {"miou/mean_last": results["miou"]["mean_last"]}
        if results["miou"]["ensemble"] is not None:
            scores["miou/ensemble"] = results["miou"]["ensemble"]
        of_test = (results.get("test") or {}).get("miou", {})
        scores |= {f"test/{name}": value for name, value in of_test.items() if value is not None}
        self._writer.add_hparams({**settings, "seed": results["seed"]}, scores, run_name="results")
        self._writer.close()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _draw(self, tag: str, panel: Panel, at: int) -> None:
        self._writer.add_image(tag, panel.in_a_row(self._dataset.colored), at, dataformats="HWC")
