"""Where metrics go: metrics.jsonl in the run folder always, and any number of loggers beside it."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from dmtc.errors import ConfigError
from dmtc.registry import Registry

Record = Mapping[str, float | int | str]


class Tracker(Protocol):
    """Receives records as they come, and the results at the end."""

    def log(self, record: Record) -> None:
        """Take one record: `phase`, `step`, `images` seen by the run so far, and the values of the moment."""

    def finish(self, results: Mapping[str, Any]) -> None:
        """Take the results and close."""

    def close(self) -> None:
        """Close early: the run was stopped or failed."""


LOGGERS: Registry[Tracker] = Registry("logger", runtime=["folder", "config"])
"""Builders may take `folder: Path` (of the run) and `config: dict` (resolved)."""


class JsonLines:
    """One JSON object a line, appended as it comes.

    Args:
        path: The file; an interrupted run goes on at its end.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = open(path, "a", encoding="utf-8")  # noqa: SIM115  # closed by close()

    def log(self, record: Record) -> None:
        """Write one line and hand it to the system at once, so that a crash loses nothing."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def finish(self, results: Mapping[str, Any]) -> None:
        """Close; results.json holds the results."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@LOGGERS.register("csv")
class CsvLogger:
    """metrics.csv with one row a record; columns that come up later widen the file when it is closed.

    Args:
        folder: Of the run.
    """

    def __init__(self, *, folder: Path) -> None:
        self._path = folder / "metrics.csv"
        self._rows: list[Record] = []
        if self._path.exists():
            with open(self._path, newline="", encoding="utf-8") as file:
                self._rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]

    def log(self, record: Record) -> None:
        """Take one row."""
        self._rows.append(record)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the file."""
        self.close()

    def close(self) -> None:
        """Write the file with every column that any row has."""
        columns = list(dict.fromkeys(column for row in self._rows for column in row))
        with open(self._path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows)


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

        path.write_text(secrets.token_hex(8))
    return path.read_text()
