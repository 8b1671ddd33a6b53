"""Keeps scores of runs on voc_animals in results/voc_animals, and makes the tables of README.md and docs/results.md.

python benchmarks/voc_animals.py FOLDER ...   adds the finished runs below these folders, then makes the tables
python benchmarks/voc_animals.py              makes the tables

A row is one run: method, ratio, fold and seed, mIoU on the test and the validation images by the last weights (mean of
the networks), and CPU-minutes. A run that is there already is replaced.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from dmtc.report.results import mean_test
from dmtc.report.sweeps.finding import RunRecord, read_runs
from dmtc.report.sweeps.paired import paired_gain
from dmtc.report.sweeps.sweep_tables import gain_text, markdown, spread

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "voc_animals"
BEGIN, END = "<!-- made by benchmarks/voc_animals.py -->", "<!-- end -->"
PAGES = ("README.md", "docs/results.md")
BASELINE = "supervised_long views=strong_both"
"""Training on the labelled images alone, for as many images and with the same strong views."""

Row = dict[str, Any]


def main(folders: Sequence[str]) -> None:
    """See the head of this file."""
    found = [run for folder in folders for run in read_runs(Path(folder)) if run.state == "finished"]
    kept = {key_of(row): row for row in [*read(), *map(row_of, found)]}
    RESULTS.mkdir(parents=True, exist_ok=True)
    for ratio, rows in groupby((kept[key] for key in sorted(kept)), key=lambda row: row["ratio"]):
        path = RESULTS / f"{ratio.replace('/', '_')}.json"
        path.write_text(json.dumps(list(rows), indent=1) + "\n", "utf-8")
    for page in (ROOT / name for name in PAGES):
        page.write_text(with_tables(page.read_text("utf-8"), read()), "utf-8")


def row_of(run: RunRecord) -> Row:
    """What is kept of a run.

    Raises:
        SystemExit: The run has no score on test images.
    """
    results, environment = run.results, run.results["environment"]
    split, test = results["split"], mean_test(results)
    if test is None:
        raise SystemExit(f"{run.path}: no score on test images, as run.test=false")
    return {
        "method": results["method"],
        "ratio": split["ratio"],
        "labelled": split["labelled"],
        "fold": run.settings["split.fold"],
        "seed": results["seed"],
        "dataset": "voc_animals",
        "test": {"miou": test},
        "val": {"miou": results["miou"]["mean_last"]},
        "cpu_minutes": results["cpu_seconds"] / 60,
        "steps": sum(phase["steps"] for phase in results["phases"]),
        "commit": results["commit"],
        "processor": environment["processor"],
        "threads": environment["threads"],
        "versions": {"python": environment["python"], "torch": environment["packages"]["torch"]},
    }


def key_of(row: Row) -> tuple[str, ...]:
    """What tells runs apart, in the order of the files."""
    return tuple(str(row[key]) for key in ("ratio", "method", "fold", "seed"))


def read() -> list[Row]:
    """All rows that are kept."""
    return [row for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text("utf-8"))]


def with_tables(page: str, rows: Sequence[Row]) -> str:
    """The page with its part between the marks made anew, if it has one."""
    before, mark, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables(rows)}\n{END}{rest.partition(END)[2]}" if mark else page


def tables(rows: Sequence[Row]) -> str:
    """A table for each number of labels, and with what it was measured."""
    if not rows:
        return "Nothing is measured yet.\n"
    by_labels = sorted(rows, key=lambda row: row["labelled"])
    parts = [table(list(same)) for _, same in groupby(by_labels, key=lambda row: row["labelled"])]
    return "\n".join([*parts, made_with(rows)])


def table(rows: Sequence[Row]) -> str:
    """Methods from the lowest to the highest: mean and spread, paired gain over the baseline, CPU-minutes, folds."""
    (ratio,), (labelled,) = ({row[key] for row in rows} for key in ("ratio", "labelled"))
    methods = {method: {_pair(row): row for row in rows if row["method"] == method} for method in _names(rows)}
    baseline = methods.get(BASELINE, {})
    header = [f"{labelled} labels ({ratio})", "test mIoU", f"over {BASELINE}", "val mIoU", "CPU-minutes", "folds"]
    lines = []
    for name, own in methods.items():
        differences = [_test(row) - _test(baseline[pair]) for pair, row in own.items() if pair in baseline]
        gain = gain_text(paired_gain(differences)) if differences and name != BASELINE else ""
        minutes = statistics.fmean(row["cpu_minutes"] for row in own.values())
        val = spread([row["val"]["miou"] for row in own.values()])
        folds = " ".join(str(row["fold"]) for row in own.values())
        lines.append([name, spread([_test(row) for row in own.values()]), gain, val, f"{minutes:.0f}", folds])
    return markdown((header, lines))


def _names(rows: Sequence[Row]) -> list[str]:
    names = {row["method"] for row in rows}
    return sorted(names, key=lambda name: statistics.fmean(_test(row) for row in rows if row["method"] == name))


def _pair(row: Row) -> tuple[int, int]:
    return row["fold"], row["seed"]


def _test(row: Row) -> float:
    return row["test"]["miou"]


def made_with(rows: Sequence[Row]) -> str:
    """Machine and versions."""
    facts = set()
    for row in rows:
        versions = f"Python {row['versions']['python']}, torch {row['versions']['torch']}"
        facts.add(f"{row['processor']}, threads: {row['threads']}, {versions}")
    return (
        "mIoU in percent by the last weights, mean of the networks, ± standard deviation over folds; gains in points:"
        " mean over the same folds [95 % confidence interval], p of a paired t-test, folds won. Measured on "
        + "; ".join(sorted(facts))
        + ".\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
