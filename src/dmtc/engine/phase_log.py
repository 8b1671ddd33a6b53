"""What is kept of a phase while it is trained, beside its weights."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dmtc.evaluation.quality import PseudoLabelScores


@dataclass(slots=True)
class PhaseLog:
    """What came of a phase so far. It is in every checkpoint.

    Attributes:
        pseudo: Scores of its pseudo-labels, None without any.
        evaluations: One entry each, with step, mIoU, IoU of each class and the further metrics.
        dropped_steps: Steps whose loss or gradient was not finite.
        skipped: How often each image that cannot be used was skipped.
        warnings: One line each.
        seconds: Spent on the phase, as of the last update; so are the following.
        peak_memory: Bytes, of the process that needs most.
        records: Lines of metrics.jsonl.
        weights: SHA-256 of the files that were written, by name.
    """

    pseudo: PseudoLabelScores | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    dropped_steps: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory: int = 0
    records: int = 0
    weights: dict[str, str] = field(default_factory=dict)

    @classmethod
    def restored(cls, content: dict[str, Any]) -> "PhaseLog":
        """The inverse of `dataclasses.asdict`."""
        pseudo = content["pseudo"]
        return cls(**{**content, "pseudo": None if pseudo is None else PseudoLabelScores(**pseudo)})


class Stopwatch:
    """Seconds since it was made, pauses left out.

    Args:
        seconds_before: Of an earlier one, to go on from.
    """

    def __init__(self, seconds_before: float = 0.0) -> None:
        self._begun = time.perf_counter() - seconds_before

    def seconds(self) -> float:
        """As of now."""
        return time.perf_counter() - self._begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done meanwhile."""
        stopped_at = time.perf_counter()
        yield
        self._begun += time.perf_counter() - stopped_at
