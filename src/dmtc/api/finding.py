"""Finds runs below a folder."""

from pathlib import Path
from typing import Any

from dmtc.api.runs import Run
from dmtc.core.command import command
from dmtc.core.errors import DataError
from dmtc.report.results import mean_test
from dmtc.report.sweeps.finding import read_runs


def load_runs(folder: str | Path) -> list[Run]:
    """Every finished run below a folder, such as `outputs/` or a sweep's, in the order they finished.

    Raises:
        DataError: There is no such folder, or no finished run in it.

    Examples:
        >>> import dmtc
        >>> {run.results["dataset"] for run in dmtc.load_runs("outputs")}
        {'synthetic'}
    """
    finished = sorted(Path(folder).rglob("results.json"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not finished:
        raise DataError(f"no finished run below {folder}: no results.json is there; {command()} makes one")
    return [Run.load(path.parent) for path in finished]


def table(folder: str | Path) -> list[dict[str, Any]]:
    """One row per run below a folder, finished or not, for example for `pandas.DataFrame(dmtc.table("multirun"))`.

    All rows have the same keys. Scores are mIoU in [0, 1], None where there is none: `miou` is the mean of the networks
    after their last step, `test` the same on the test part.

    Args:
        folder: Such as `outputs/`, or a sweep's.

    Raises:
        DataError: There is no such folder, or no run in it.

    Examples:
        >>> import dmtc
        >>> row = dmtc.table("outputs/first")[0]
        >>> row["state"], row["method"], row["ratio"], row["seed"]
        ('finished', 'dmtc', '1/4', 0)
    """
    rows = []
    for record in read_runs(Path(folder)):
        results, settings = record.results, record.settings
        split, miou = results.get("split") or {}, results.get("miou") or {}
        rows.append(
            {
                "run": record.name,
                "state": record.state,
                "method": record.method,
                "dataset": results.get("dataset", settings.get("dataset.name")),
                "ratio": split.get("ratio", settings.get("split.ratio")),
                "labelled": split.get("labelled"),
                "unlabelled": split.get("unlabelled"),
                "seed": results.get("seed", settings.get("seed")),
                "miou": miou.get("mean_last"),
                **{f"miou_{letter}": (miou.get(letter) or {}).get("last") for letter in "ab"},
                "miou_ensemble": miou.get("ensemble"),
                "test": mean_test(results),
                "seconds": results.get("seconds"),
                "device": results.get("device"),
                "folder": str(record.path),
            }
        )
    return rows
