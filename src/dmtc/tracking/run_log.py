"""All that a run reports to: metrics.jsonl, which is the record, and the loggers beside it."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.tracking.json_lines import JsonLines, read_records
from dmtc.tracking.panel import Panel
from dmtc.tracking.phase_record import PhaseRecord
from dmtc.tracking.tracker import Record, Tracker


class RunLog:
    """metrics.jsonl, which is the record, and the loggers beside it, of which none ever stops a run.

    Args:
        path: Of metrics.jsonl.
        loggers: How to make each logger, by name; `ConfigError` passes, any other failure is warned of.
        warn: Shows a line that must not go unnoticed.
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
        """A phase begins or goes on with the `count` records that it had when its checkpoint was written."""
        self._known = {_identity(record) for record in self._lines.keep(phase, count)}
        self._counts[phase] = count

    def take_over(self, phase: str, path: Path) -> None:
        """Take all records of a phase from another file, in place of those that are here."""
        self.begin(phase, 0)
        for record in read_records(path):
            if record.get("phase") == phase:
                self.log(record)

    def count(self, phase: str) -> int:
        """Records of a phase so far."""
        return self._counts[phase]

    def log(self, record: Record) -> None:
        """Take a record; the loggers are spared those that they had before the run was stopped."""
        self._lines.log(record)
        self._counts[str(record["phase"])] += 1
        if _identity(record) not in self._known:
            self._tell(lambda tracker: tracker.log(record))

    @property
    def panels(self) -> int:
        """How many images the loggers want to see after a phase."""
        return max((tracker.panels for tracker in self._loggers.values()), default=0)

    def phase(self, record: PhaseRecord, panels: Sequence[Panel], worst: Sequence[Panel]) -> None:
        """Hand over what came of a phase; see `Tracker.phase`."""
        self._tell(lambda tracker: tracker.phase(record, panels[: tracker.panels], worst[: tracker.panels]))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Hand over the results and close."""
        self._lines.finish(results)
        self._tell(lambda tracker: tracker.finish(results))

    def close(self) -> None:
        """Close early: the run was stopped or failed."""
        self._lines.close()
        self._tell(lambda tracker: tracker.close())

    def _tell(self, call: Callable[[Tracker], None]) -> None:
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
            self._warn(f"logger {name} failed ({reason}) and gets nothing more; metrics.jsonl has everything")


def _identity(record: Record) -> tuple[object, ...]:
    """What a record is of: the same steps of a resumed run give the same again."""
    return (record.get("phase"), record.get("step"), *sorted(record))
