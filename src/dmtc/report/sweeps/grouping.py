"""Grouping runs into rows of repetitions, and rows into panels of comparable scores.

Runs are repetitions if they differ only in the keys that are averaged over (the seed). Any other difference makes
another row. A row shows the differing settings needed to distinguish it from other rows of its method and label ratio,
first those from the command line: a swept `loss.gamma` is shown, but not the exponents that follow from it.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmtc.report.results import mean_test
from dmtc.report.sweeps.differences import Values, distinguishing, is_of, text_of, value_of, varying
from dmtc.report.sweeps.fairness import is_fair
from dmtc.report.sweeps.finding import FILES_OF_LABELLED, RunRecord
from dmtc.report.sweeps.paired import Gain, paired_gain

_OF_THE_RATIO = ("split.ratio",)
_OF_THE_PANEL = ("dataset", "evaluation")
"""Settings that make scores incomparable, so that these are shown in different panels."""

Cell = tuple[int, str, str]
"""Number of labelled images, the ratio as in the config, and the fingerprint of the split."""


@dataclass(eq=False)
class Row:
    """Runs that are repetitions of each other.

    Attributes:
        cell: Its labelled images.
        method: Its method.
        shown: The settings that distinguish it, by dotted key.
        runs: Runs by the values averaged over, such as ("0",) for seed 0.
        gains: Gains by the baseline's method.
    """

    cell: Cell
    method: str
    shown: dict[str, str]
    runs: dict[tuple[str, ...], RunRecord]
    gains: dict[str, Gain] = field(default_factory=dict)

    @property
    def labelled(self) -> int:
        """Number of labelled images."""
        return self.cell[0]

    @property
    def ratio(self) -> str:
        """The label ratio, as in the config."""
        return self.cell[1]

    @property
    def is_full(self) -> bool:
        """Whether all images are labelled."""
        return all(run.results["split"]["unlabelled"] == 0 for run in self.runs.values()) or self.ratio == "full"

    @property
    def name(self) -> str:
        """The method, and the settings that distinguish it from others of the same method."""
        return " ".join([self.method, *(f"{key}={value}" for key, value in self.shown.items())])

    @property
    def scores(self) -> list[float]:
        """The mIoU of every run, in [0, 1]."""
        return [run.score for run in self.runs.values()]

    @property
    def mean(self) -> float:
        """The mean of `scores`."""
        return statistics.fmean(self.scores)

    @property
    def ensembles(self) -> list[float]:
        """The mIoU of every run's ensemble; empty if there are none."""
        values = [run.results["miou"]["ensemble"] for run in self.runs.values()]
        return [value for value in values if value is not None]

    @property
    def tests(self) -> list[float]:
        """The mean test mIoU of every run's networks; empty without a test part. Rows are never sorted by it."""
        return [score for run in self.runs.values() if (score := mean_test(run.results)) is not None]

    @property
    def any(self) -> RunRecord:
        """One of its runs, for what they have in common."""
        return next(iter(self.runs.values()))


@dataclass(eq=False)
class Panel:
    """Rows with comparable scores: one data set and one way of scoring.

    Attributes:
        dataset: Its name.
        shown: The settings that distinguish it from other panels of the same data set.
        rows: Rows by number of labelled images, then from the overall weakest method to the strongest.
    """

    dataset: str
    shown: dict[str, str]
    rows: list[Row]

    @property
    def title(self) -> str:
        """The heading."""
        return ", ".join([self.dataset, *(f"{key}={value}" for key, value in self.shown.items())])

    @property
    def cells(self) -> list[Cell]:
        """The cells, fewest labelled images first."""
        return sorted({row.cell for row in self.rows})

    @property
    def methods(self) -> list[str]:
        """Names of methods with the settings that distinguish them, from the weakest to the strongest."""
        return list(dict.fromkeys(row.name for row in self.rows))


def repeated(records: Iterable[RunRecord], over: Sequence[str]) -> list[str]:
    """The keys to average over without those that are the same in all finished runs; the seed always stays."""
    finished = [record for record in records if record.state == "finished"]
    return [key for key in over if key == "seed" or len({str(record.settings.get(key)) for record in finished}) > 1]


def group(records: Iterable[RunRecord], over: Sequence[str], baselines: Sequence[str]) -> tuple[list[Panel], list[str]]:
    """Group finished runs into rows and rows into panels.

    Args:
        records: Runs; unfinished ones are left out.
        over: Dotted keys to average over, such as "seed".
        baselines: Methods to compute gains over.

    Returns:
        The panels, by data set, and remarks, one sentence each, about runs left out.
    """
    remarks: list[str] = []
    finished = [record for record in records if record.state == "finished"]
    of_dataset: dict[str, list[RunRecord]] = defaultdict(list)
    for record in finished:
        of_dataset[_dataset(record)].append(record)
    by_panel: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    protocols: dict[str, Values] = {}
    for name, runs in of_dataset.items():
        protocols[name] = {key: values for key, values in varying(runs).items() if is_of(key, _OF_THE_PANEL)}
        for record in runs:
            by_panel[name, *(value_of(record, key) for key in sorted(protocols[name]))].append(record)
    panels = []
    for (name, *_), runs in by_panel.items():
        others, protocol = of_dataset[name], protocols[name]
        keys = distinguishing(protocol, others, lambda _: (), over)
        shown = {key: text for key in keys if (text := text_of(runs[0], key, protocol))}
        panels.append(Panel(name, shown, _rows(runs, over, remarks)))
    for panel in panels:
        _add_gains(panel.rows, over, baselines)
    return sorted(panels, key=lambda panel: panel.title), remarks


def _rows(runs: list[RunRecord], over: Sequence[str], remarks: list[str]) -> list[Row]:
    by_fold = any(key.startswith("split.") for key in over)  # then repetitions differ in their labelled images

    def cell_of(run: RunRecord) -> Cell:
        split = run.results["split"]
        return split["labelled"], str(split["ratio"]), "" if by_fold else str(split["sha256"])

    ignored = (*_OF_THE_RATIO, *_OF_THE_PANEL, *over, *([FILES_OF_LABELLED] if by_fold else []))
    differing = {key: values for key, values in varying(runs).items() if not is_of(key, ignored)}
    keys = distinguishing(differing, runs, lambda run: (run.method, cell_of(run)[:2]), over)
    rows: dict[tuple[Any, ...], Row] = {}
    cells_of_ratio: dict[tuple[int, str], set[Cell]] = defaultdict(set)
    for run in runs:
        cells_of_ratio[cell_of(run)[:2]].add(cell_of(run))
    for run in runs:
        shown = {key: text for key in keys if (text := text_of(run, key, differing))}
        cell = cell_of(run)
        if len(cells_of_ratio[cell[:2]]) > 1 and not any(key.startswith("split.") for key in keys):
            shown["labelled set"] = cell[2][:8]
        settings = tuple(value_of(run, key) for key in differing)  # also those not shown
        row = rows.setdefault((run.method, cell, settings), Row(cell, run.method, shown, {}))
        row.shown = min(row.shown, shown, key=len)  # a term may be switched off in one run and missing in another
        repetition = tuple(_repetition(run, key) for key in over)
        if repetition in row.runs:
            earlier, later = sorted((row.runs[repetition], run), key=_made_at)
            remarks.append(f"{earlier.name} is left out: {later.name} is a later repetition of the same run")
            run = later
        row.runs[repetition] = run
    for row in rows.values():
        row.runs = dict(sorted(row.runs.items(), key=lambda item: [_number(part) for part in item[0]]))
        remarks += _other_code(row)
    return _sorted(list(rows.values()))


def _sorted(rows: list[Row]) -> list[Row]:
    """Sort by labelled images, then methods by their average distance from column means: one order everywhere."""
    middle = {cell: statistics.fmean(row.mean for row in rows if row.cell == cell) for cell in {r.cell for r in rows}}
    distances: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        distances[row.name].append(row.mean - middle[row.cell])
    return sorted(rows, key=lambda row: (row.cell, statistics.fmean(distances[row.name]), row.name))


def _add_gains(rows: list[Row], over: Sequence[str], baselines: Sequence[str]) -> None:
    for row in rows:
        for method in baselines:
            bases = [base for base in rows if base.method == method and _may_compare(row, base, over)]
            if bases:
                # Several may differ in settings that do not affect a baseline, such as a swept gamma.
                base = max(bases, key=lambda base: _nearness(row, base))
                shared = [key for key in row.runs if key in base.runs]
                if shared:
                    row.gains[method] = paired_gain([row.runs[key].score - base.runs[key].score for key in shared])


def _may_compare(row: Row, base: Row, over: Sequence[str]) -> bool:
    return base.cell == row.cell and base.method != row.method and is_fair(row.any, base.any, over)


def _nearness(row: Row, base: Row) -> tuple[int, int]:
    """How many shown settings two rows share, and how few the base has that the row does not."""
    return len(row.shown.items() & base.shown.items()), -len(base.shown.items() - row.shown.items())


def _other_code(row: Row) -> list[str]:
    """A remark if the runs of a row are from several versions of the code."""
    made = {str(run.results.get("commit") or run.results.get("version") or "") for run in row.runs.values()} - {""}
    if len(made) < 2:
        return []
    return [f"{row.name}, {row.ratio}: its runs are from {len(made)} versions of the code ({_commits(made)})"]


def _commits(made: Iterable[str]) -> str:
    return ", ".join(sorted(one[:8] for one in made))


def _dataset(run: RunRecord) -> str:
    return str(run.results["dataset"])


def _repetition(run: RunRecord, key: str) -> str:
    if key == "seed":
        return str(run.results["seed"])
    return str(run.settings.get(key, "?"))


def _number(text: str) -> tuple[float, str]:
    """Sort key: numbers by value, before words."""
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def _made_at(run: RunRecord) -> float:
    return (run.path / "results.json").stat().st_mtime
