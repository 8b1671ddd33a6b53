"""How long something takes on a device."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

_TURNS = 3


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Times work on a device.

    Attributes:
        device: Waited for before the clock is read.
        repeats: Repetitions in a turn, at most.
        seconds: That the timed turns of a piece of work may take together; at least one repetition is timed.
    """

    device: torch.device
    repeats: int
    seconds: float

    def each(self, works: Mapping[str, Callable[[int], object]]) -> dict[str, float]:
        """Median seconds of one repetition of each piece of work, which is told how often to repeat itself.

        What is to be compared takes turns, so that whatever else the machine does falls on all alike.
        """
        counts, measured = {}, {}
        for name, work in works.items():
            self._timed(work, 1)  # the first time memory is mapped, algorithms are chosen, code is compiled
            first = self._timed(work, 1)
            counts[name] = max(1, min(self.repeats, int(self.seconds / _TURNS / first)))
            # Where one repetition takes all the time there is, the one just made has to do.
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
        """Seconds of a single time."""
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
