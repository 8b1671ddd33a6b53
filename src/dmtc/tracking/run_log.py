"""Log of a run: metrics.jsonl and the loggers."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.core.types import UInt8Array
from dmtc.evaluation.scores import Scores
from dmtc.tracking.json_lines import JsonLines, read_records
from dmtc.tracking.panel import Panel
from dmtc.tracking.phase_record import PhaseRecord
from dmtc.tracking.tracker import Record, Tracker


class RunLog:
    """metrics.jsonl and the loggers, whose failures never stop a run.

    Args:
        path: Path of metrics.jsonl.
        loggers: Builder of each logger, by name. A `ConfigError` is raised; any other failure becomes a warning.
        warn: Shows a warning.
    """

    def __init__(self, path: Path, loggers: Mapping[str, Callable[[], Tracker]], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._lines = JsonLines(path)
        self._counts: Counter[str] = Counter()
        self._known: set[tuple[object, ...]] = set()
        self._loggers: dict[str, Tracker] = {}
        try:
            for name, make in loggers.items():
                with self._surviving(name):
                    self._loggers[name] = make()
        except ConfigError:
            self.close()
            raise

    def begin(self, phase: str, count: int) -> None:
        """Begin a phase, or resume it with the `count` records it had when its checkpoint was written."""
        self._known = {_identity(record) for record in self._lines.keep(phase, count)}
        self._counts[phase] = count

    def take_over(self, phase: str, path: Path) -> None:
        """Replace all records of a phase with those in another file."""
        self.begin(phase, 0)
        for record in read_records(path):
            if record.get("phase") == phase:
                self.log(record)

    def count(self, phase: str) -> int:
        """Number of records of a phase so far."""
        return self._counts[phase]

    def log(self, record: Record) -> None:
        """Log a record; loggers do not get records again that they had before the run stopped."""
        self._lines.log(record)
        self._counts[str(record["phase"])] += 1
        if _identity(record) not in self._known:
            self._call_all(lambda tracker: tracker.log(record))

    @property
    def panels(self) -> int:
        """How many images the loggers want after a phase."""
        return max((tracker.panels for tracker in self._loggers.values()), default=0)

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Log the record of a phase; see `Tracker.phase`."""
        self._call_all(lambda tracker: tracker.phase(record, panels[: tracker.panels], worst[: tracker.panels]))

    @property
    def wants_ensemble(self) -> bool:
        """Whether a logger wants the ensemble scored after every round."""
        return any(tracker.wants_ensemble for tracker in self._loggers.values())

    def ensemble(self, number: int, scores: Scores) -> None:
        """Log the scores of the ensemble after a round; see `Tracker.ensemble`."""
        self._call_all(lambda tracker: tracker.ensemble(number, scores))

    @property
    def pictures(self) -> bool:
        """Whether a logger wants pictures of the finished run."""
        return any(type(tracker).picture is not Tracker.picture for tracker in self._loggers.values())

    def picture(self, name: str, image: UInt8Array) -> None:
        """Log a picture of the finished run; see `Tracker.picture`."""
        self._call_all(lambda tracker: tracker.picture(name, image))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Log the results and close."""
        self._lines.finish(results)
        self._call_all(lambda tracker: tracker.finish(results))

    def close(self) -> None:
        """Close early, after the run stopped or failed."""
        self._lines.close()
        self._call_all(lambda tracker: tracker.close())

    def _call_all(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._loggers.items()):
            with self._surviving(name):
                call(tracker)

    @contextlib.contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:
            self._loggers.pop(name, None)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self._warn(f"logger {name} failed ({reason}) and is turned off; metrics.jsonl has everything")


def _identity(record: Record) -> tuple[object, ...]:
    """Identity of a record; a resumed run produces the same ones for repeated steps."""
    return (record.get("phase"), record.get("step"), *sorted(record))
