"""Files of a run's folder that loggers upload at the end, if asked."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError

_SETUP = ("config.yaml", "settings.json", "environment.json", "plan.json", "split.json", "task.json")
_REPORT = ("report.html", "results.json", "results.txt", "config.yaml", "environment.json", "plan.json", "split.json")


def require_known_artifacts(logger: str, asked: Sequence[str], known: Sequence[str]) -> None:
    """Refuse artifacts that a logger does not know.

    Raises:
        ConfigError: There are such.
    """
    if unknown := [name for name in asked if name not in known]:
        names = f"{', '.join(known[:-1])} and {known[-1]}"
        raise ConfigError(f"logger.{logger}.artifacts may hold {names}, but not {unknown[0]!r}")


def report_files(folder: Path) -> list[Path]:
    """Results, settings and pictures of a run, as far as they are there."""
    return _there([*(folder / name for name in _REPORT), *sorted(folder.glob("pictures/*"))])


def weights_files(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """The last weights of every network, and what else `run=FOLDER` needs to predict with them.

    Args:
        folder: The run's folder.
        results: As in results.json.
    """
    last = {record["trainee"]: folder / "phases" / record["name"] for record in results["phases"]}
    of_networks = [path / name for path in last.values() for name in ("last.safetensors", "phase.json")]
    return _there([*(folder / name for name in (*_SETUP, "results.json")), *of_networks])


def _there(paths: Collection[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
