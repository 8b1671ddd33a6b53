"""Base class of loggers, and the values of a phase that all loggers show."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.core.registry import Registry
from dmtc.core.types import UInt8Array
from dmtc.tracking.panel import Panel
from dmtc.tracking.phase_record import PhaseRecord

Record = Mapping[str, float | int | str]
"""`phase`, `network`, `step` in the phase, `total_step` of the network, and the values at that step."""


class Tracker:
    """A logger of a run. Override the methods for the events you need; an error in them does not stop the run.

    Attributes:
        panels: How many images of a fixed set, and how many of the worst images, it wants after every phase.

    Examples:
        >>> class Printer(Tracker):
        ...     def log(self, record):
        ...         print(record["phase"], record["step"])
        >>> Printer().log({"phase": "r1-a", "step": 20, "loss": 0.5})
        r1-a 20
    """

    panels: int = 0

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


def phase_values(record: PhaseRecord, classes: Sequence[str]) -> dict[str, float]:
    """The known numbers of a phase's record under flat names, `SECTION/NETWORK/NAME`.

    Args:
        record: As in `phases` of results.json.
        classes: Class names.

    Returns:
        Section `rounds` has one value per name, including `label_ratio` (requested) and `pseudo_coverage` (realized);
        sections `iou`, `precision`, `recall`, `threshold` and `realized` have one value per class.
    """
    network, pseudo = record.trainee, record.pseudo
    names = ("miou_last", "miou_best", "label_ratio", "seconds", "train_images_per_s", "label_images_per_s")
    values = {f"rounds/{network}/{name}": getattr(record, name) for name in (*names, "peak_memory_bytes")}
    values |= {f"rounds/{network}/{name}": value for name, value in record.metrics_last.items()}
    of_classes: dict[str, Sequence[float | None] | None] = {"iou": record.iou_last}
    if pseudo is not None:
        values |= {
            f"rounds/{network}/pseudo_{name}": getattr(pseudo, name) for name in ("coverage", "accuracy", "miou")
        }
        values[f"rounds/{network}/pseudo_calibration_error"] = (pseudo.calibration or {}).get("error")
        of_classes |= {"precision": pseudo.precision, "recall": pseudo.recall}
        of_classes |= {"threshold": pseudo.thresholds, "realized": pseudo.realized}
    for section, of_class in of_classes.items():
        values |= {f"{section}/{network}/{name}": of for name, of in zip(classes, of_class or (), strict=False)}
    return {name: value for name, value in values.items() if value is not None}
