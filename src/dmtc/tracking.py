"""Where metrics go: metrics.jsonl in the run folder always, and any number of loggers beside it."""

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from dmtc.errors import ConfigError
from dmtc.files import write_atomically
from dmtc.registry import Registry

Record = Mapping[str, float | int | str]


class Tracker(Protocol):
    """Receives records as they come, and the results at the end."""

    def log(self, record: Record) -> None:
        """Take one record: `phase`, `step`, `images` seen by the run so far, and the values of the moment."""

    def finish(self, results: Mapping[str, Any]) -> None:
        """Take the results and close."""

    def close(self) -> None:
        """Close early: the run was stopped or failed. It may be gone on with later, under the same folder."""


LOGGERS: Registry[Tracker] = Registry("logger", runtime=["folder", "config"])
"""Builders may take `folder: Path` (of the run) and `config: dict` (resolved)."""


class JsonLines:
    """One JSON object a line, appended as it comes.

    Args:
        path: The file; an interrupted run goes on at its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)

    def log(self, record: Record) -> None:
        """Write one line and hand it to the system at once, so that a crash loses nothing.

        Raises:
            OSError: It cannot be written; the error names the file.
        """
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def keep(self, phase: str, count: int) -> list[dict[str, Any]]:
        """Keep the first `count` records of a phase, and no line that was cut off; the rest is returned."""
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        records = [record for line in lines if (record := _parsed(line)) is not None]
        of_phase = [record for record in records if record.get("phase") == phase]
        dropped = of_phase[count:]
        if dropped or len(records) < len(lines):
            kept = [record for record in records if not any(record is one for one in dropped)]
            self._file.close()
            write_atomically(self._path, "".join(json.dumps(record) + "\n" for record in kept))
            self._file = _opened(self._path)
        return dropped

    def finish(self, results: Mapping[str, Any]) -> None:
        """Close; results.json holds the results."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        # What a full disk did not take was told when it was logged.
        with contextlib.suppress(OSError):
            self._file.close()


class Metrics:
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
        for line in path.read_text(encoding="utf-8").splitlines():
            record = _parsed(line)
            if record is not None and record.get("phase") == phase:
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


@LOGGERS.register("csv")
class CsvLogger:
    """metrics.csv: metrics.jsonl as a table, one row a record, written when the run ends or stops.

    Args:
        folder: Of the run.
    """

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder

    def log(self, record: Record) -> None:
        """Nothing: which columns there are is known at the end."""

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the file."""
        self.close()

    def close(self) -> None:
        """Write the file with every column that any row has."""
        lines = (self._folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [record for line in lines if (record := _parsed(line)) is not None]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self._folder / "metrics.csv", table.getvalue())


@LOGGERS.register("wandb")
class WandbLogger:
    """Weights & Biases: the whole config, every record, the results as summary.

    Args:
        folder: Of the run; W&B keeps its files there.
        config: Resolved config.
        project: W&B project.
        entity: W&B user or team; null for the default.
        mode: "online", "offline" or "disabled".
        group: Name that runs of a sweep share.
        tags: Free words.
    """

    def __init__(
        self,
        *,
        folder: Path,
        config: dict[str, Any],
        project: str,
        entity: str | None,
        mode: str,
        group: str | None,
        tags: list[str],
    ) -> None:
        if mode not in ("online", "offline", "disabled"):
            raise ConfigError(f"logger.wandb.mode should be online, offline or disabled, but is {mode!r}")
        try:
            import wandb  # heavy, and not installed everywhere: imported only where it is used
        except ImportError:
            raise ConfigError("logger=wandb needs the package wandb: pip install wandb") from None
        self._run = wandb.init(
            dir=str(folder),
            config=config,
            project=project,
            entity=entity,
            mode=mode,
            group=group,
            tags=tags,
            name=folder.name,
            # One W&B run per run folder: a resumed run goes on where it stopped.
            id=_wandb_id(folder),
            resume="allow",
        )

    def log(self, record: Record) -> None:
        """Send one record under its phase's network, with the images seen so far as the horizontal axis."""
        self._run.log(dict(record))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Send the results as the run's summary and close it."""
        self._run.summary.update(dict(results))
        self._run.finish()

    def close(self) -> None:
        """Mark the run as not finished."""
        self._run.finish(exit_code=1)


def _wandb_id(folder: Path) -> str:
    path = folder / "wandb_id.txt"
    if not path.exists():
        import secrets

        write_atomically(path, secrets.token_hex(8))
    return path.read_text()


def _opened(path: Path) -> TextIO:
    return open(path, "a", encoding="utf-8")


def _parsed(line: str) -> dict[str, Any] | None:
    """A record, or None for a line that was cut off."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _identity(record: Record) -> tuple[object, ...]:
    """What a record is of: the same steps of a resumed run give the same again."""
    return (record.get("phase"), record.get("step"), *sorted(record))
