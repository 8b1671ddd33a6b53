"""What a logger is, and the values that all loggers show of a phase."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.core.registry import Registry
from dmtc.tracking.panel import Panel
from dmtc.tracking.phase_record import PhaseRecord

Record = Mapping[str, float | int | str]
"""`phase`, `network`, `step` of the phase, `total_step` of the network, and the values of the moment."""


class Tracker:
    """A logger: a run tells it what happens. Override what it is to hear of; it never stops a run, whatever it raises.

    Attributes:
        panels: How many images of a fixed set, and how many of the worst, it wants to see after every phase.

    Examples:
        >>> class Printer(Tracker):
        ...     def log(self, record):
        ...         print(record["phase"], record["step"])
        >>> Printer().log({"phase": "r1-a", "step": 20, "loss": 0.5})
        r1-a 20
    """

    panels: int = 0

    def log(self, record: Record) -> None:
        """Take one record while a phase is trained."""

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Take what came of a phase.

        Args:
            record: As in `phases` of results.json.
            panels: Images of the fixed set, the same after every phase; at most as many as it wants.
            worst: Images with the largest share of wrong pseudo-labels, worst first, at most as many as it wants; none
                where truth is not known.
        """

    def finish(self, results: Mapping[str, Any]) -> None:
        """Take the results and close."""

    def close(self) -> None:
        """Close early: the run was stopped or failed. It may be gone on with later, under the same folder."""


LOGGERS: Registry[Tracker] = Registry("logger", runtime=["folder", "config", "environment", "dataset"])
"""Builders may take `folder: Path` (of the run), `config: dict` (resolved), `environment: dict`, `dataset: Dataset`."""


def phase_values(record: PhaseRecord, classes: Sequence[str]) -> dict[str, float]:
    """The numbers of a phase's record under flat names, `SECTION/NETWORK/NAME`, without those that are not known.

    Args:
        record: As in `phases` of results.json.
        classes: Their names.

    Returns:
        In the section `rounds` one value each, `label_ratio` (requested) beside `pseudo_coverage` (realized) among
        them; in `iou`, `precision`, `recall`, `threshold` and `realized` one value a class.
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
