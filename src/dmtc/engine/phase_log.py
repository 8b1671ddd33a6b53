"""Log of a phase in training, apart from its weights."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dmtc.evaluation.quality import PseudoLabelScores


@dataclass(slots=True)
class PhaseLog:
    """Results of a phase so far. Every checkpoint holds one.

    Attributes:
        pseudo: Scores of its pseudo-labels; None without any.
        evaluations: One entry per evaluation: step, mIoU, per-class IoU and any further metrics.
        dropped_steps: Steps whose loss or gradient was not finite.
        skipped: How often each unusable image was skipped.
        warnings: One line each.
        seconds: Time spent on the phase; like the attributes below, as of the last update.
        cpu_seconds: Processor time spent on it, by all processes; without those of the loader.
        peak_memory: In bytes, of the process that needs most.
        records: Number of lines in metrics.jsonl.
        weights: SHA-256 of the weight files written, by name.
    """

    pseudo: PseudoLabelScores | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    dropped_steps: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    records: int = 0
    weights: dict[str, str] = field(default_factory=dict)

    @classmethod
    def restored(cls, content: dict[str, Any]) -> "PhaseLog":
        """Rebuild a log from the output of `dataclasses.asdict`."""
        pseudo = content["pseudo"]
        return cls(**{**content, "pseudo": None if pseudo is None else PseudoLabelScores(**pseudo)})

    def is_best(self, values: Mapping[str, float], monitor: str) -> bool:
        """Whether an evaluation that is not in the log yet is better than all that are."""
        return all(order_of(values[monitor]) > order_of(each[monitor]) for each in self.evaluations)

    def outcome(self, metrics: Sequence[str], monitor: str) -> dict[str, Any]:
        """The results for the phase's record.

        Args:
            metrics: Names of the further metrics that are scored.
            monitor: The metric whose highest value makes the weights the best.
        """
        last, best = self.evaluations[-1], best_of(self.evaluations, monitor)
        return {
            "miou_last": last["miou"],
            "miou_best": best["miou"],
            "miou_of": {which: last[f"{which}_miou"] for which in ("student", "average") if f"{which}_miou" in last},
            "iou_last": last["iou"],
            "metrics_last": {name: last[name] for name in metrics},
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_memory_bytes": self.peak_memory,
            "skipped": self.skipped,
            "dropped_steps": self.dropped_steps,
            "weights": self.weights,
        }


def best_of(evaluations: Sequence[Mapping[str, Any]], monitor: str) -> Mapping[str, Any]:
    """The first evaluation with the highest value of a metric."""
    return max(evaluations, key=lambda each: order_of(each[monitor]))


def order_of(miou: float) -> float:
    """Sort key for scores that puts NaN, the score of an absent class under `absent: undefined`, below all numbers."""
    return -math.inf if math.isnan(miou) else miou


class Spent:
    """Time spent since the last call of `take`."""

    def __init__(self) -> None:
        self._since = self._now()

    def take(self) -> tuple[float, float]:
        """Seconds, and seconds of this process's processors."""
        before, self._since = self._since, self._now()
        return self._since[0] - before[0], self._since[1] - before[1]

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


class Stopwatch:
    """Seconds since its creation, excluding pauses.

    Args:
        seconds_before: Seconds to start from, such as those of a checkpoint.
    """

    def __init__(self, seconds_before: float = 0.0) -> None:
        self._started_at = time.perf_counter() - seconds_before

    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started_at

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time spent inside the context."""
        stopped_at = time.perf_counter()
        yield
        self._started_at += time.perf_counter() - stopped_at
