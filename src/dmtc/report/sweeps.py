"""One table of many runs: mean and spread of each method over its seeds."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from dmtc.errors import DataError


def sweep_table(folder: Path) -> str:
    """A Markdown table of every finished run below a folder.

    Runs that differ in nothing but the seed make one row. The score is that of the last weights, the mean over the
    networks of a run; its spread is the sample standard deviation over seeds. The gain is over the first supervised
    method of the same data set and ratio, seed by seed.

    Args:
        folder: Searched with all its subfolders.

    Raises:
        DataError: There is no such folder, or no finished run in it.
    """
    groups: dict[tuple[str, ...], dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in sorted(folder.rglob("results.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        groups[(results["dataset"], results["split"]["ratio"], results["method"])][results["seed"]] = results
    if not groups:
        raise DataError(f"no finished run below {folder}: no results.json is there")
    # By data set and ratio, and from the weakest method to the strongest.
    order = sorted(groups, key=lambda key: (key[0], _labelled(groups[key]), _mean(groups[key])))
    lines = [
        "| data set | labelled | method | mIoU, last | gain | ensemble | minutes | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dataset, ratio, method in order:
        runs = groups[(dataset, ratio, method)]
        baseline = groups.get((dataset, ratio, "supervised"), {})
        gains = [_score(runs[seed]) - _score(baseline[seed]) for seed in runs if seed in baseline]
        ensembles = [run["miou"]["ensemble"] for run in runs.values() if run["miou"]["ensemble"] is not None]
        minutes = statistics.mean(run["seconds"] for run in runs.values()) / 60
        cells = [
            dataset,
            f"{ratio} ({_labelled(runs)})",
            method,
            _spread([_score(run) for run in runs.values()]),
            f"{100 * statistics.mean(gains):+.1f}" if gains and method != "supervised" else "",
            _spread(ensembles) if ensembles else "",
            f"{minutes:.1f}",
            " ".join(map(str, sorted(runs))),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _score(results: dict[str, Any]) -> float:
    return results["miou"]["mean_last"]


def _mean(runs: dict[int, dict[str, Any]]) -> float:
    return statistics.mean(_score(run) for run in runs.values())


def _labelled(runs: dict[int, dict[str, Any]]) -> int:
    return next(iter(runs.values()))["split"]["labelled"]


def _spread(values: list[float]) -> str:
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
