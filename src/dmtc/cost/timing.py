"""Timing work on a device."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

_TURNS = 3


@dataclass(frozen=True, slots=True)
class Timer:
    """Times work on a device.

    Attributes:
        device: Synchronized before the clock is read.
        repeats: Maximum number of repetitions per turn.
        seconds: Time limit of all turns of a piece of work; at least one repetition is timed.
    """

    device: torch.device
    repeats: int
    seconds: float

    def each(self, works: Mapping[str, Callable[[int], object]]) -> dict[str, float]:
        """Median seconds per repetition of each piece of work, a function that takes its number of repetitions.

        The pieces take turns, so that other load on the machine affects all equally.
        """
        counts, measured = {}, {}
        for name, work in works.items():
            self._timed(work, 1)  # warm-up: memory is mapped, algorithms are chosen, code is compiled
            first = self._timed(work, 1)
            counts[name] = max(1, min(self.repeats, int(self.seconds / _TURNS / first)))
            # If one repetition exceeds the time limit, the one just timed is the result.
            measured[name] = [first] if first > self.seconds else []
        for _ in range(_TURNS):
            for name, work in works.items():
                if sum(measured[name]) * counts[name] < self.seconds:
                    measured[name].append(self._timed(work, counts[name]) / counts[name])
        return {name: statistics.median(seconds) for name, seconds in measured.items()}

    def one(self, work: Callable[[], object]) -> float:
        """Median seconds of one piece of work."""

        def repeated(count: int) -> None:
            for _ in range(count):
                work()

        return self.each({"work": repeated})["work"]

    def once(self, work: Callable[[], object]) -> float:
        """Seconds of a single repetition."""
        return self._timed(lambda _: work(), 1)

    def _timed(self, work: Callable[[int], object], count: int) -> float:
        self._wait()
        started = time.perf_counter()
        work(count)
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
