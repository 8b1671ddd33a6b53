"""Base class of loggers."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.core.registry import Registry
from dmtc.core.types import UInt8Array
from dmtc.evaluation.scores import Scores
from dmtc.tracking.panel import Panel
from dmtc.tracking.phase_record import PhaseRecord

Record = Mapping[str, float | int | str]
"""`phase`, `network`, `step` in the phase, `total_step` of the network, and the values at that step."""


class Tracker:
    """A logger of a run. Override the methods for the events you need; an error in them does not stop the run.

    Attributes:
        panels: How many images of a fixed set, and how many of the worst images, it wants after every phase.
        wants_ensemble: Whether it wants the ensemble of several networks scored after every round, which takes one more
            pass over the validation images. The ensemble of the last round is scored in any case.

    Examples:
        >>> class Printer(Tracker):
        ...     def log(self, record):
        ...         print(record["phase"], record["step"])
        >>> Printer().log({"phase": "r1-a", "step": 20, "loss": 0.5})
        r1-a 20
    """

    panels: int = 0
    wants_ensemble: bool = False

    def log(self, record: Record) -> None:
        """Log one record during training."""

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Log the record of a phase.

        Args:
            record: As in `phases` of results.json.
            panels: A fixed set of images, the same after every phase; at most `self.panels`.
            worst: Images with the largest share of wrong pseudo-labels, worst first; at most `self.panels`, and none if
                the truth is unknown.
        """

    def ensemble(self, number: int, scores: Scores) -> None:
        """Log the scores of the networks' ensemble on the validation images after a round.

        Args:
            number: The round, as in `PhaseRecord.round`.
            scores: Of the last weights.
        """

    def picture(self, name: str, image: UInt8Array) -> None:
        """Log a picture of the finished run, before its results.

        Args:
            name: What it shows, such as "confusion".
            image: uint8 (H, W, 3).
        """

    def finish(self, results: Mapping[str, Any]) -> None:
        """Log the results and close."""

    def close(self) -> None:
        """Close early, after the run stopped or failed. It may resume later in the same folder."""


LOGGERS: Registry[Tracker] = Registry("logger", runtime=["folder", "config", "environment", "dataset"])
"""Builders may take `folder: Path` (of the run), `config: dict` (resolved), `environment: dict`, `dataset: Dataset`."""
