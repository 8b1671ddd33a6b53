"""Many runs in a notebook: `dmtc.Sweep("multirun")`."""

import dataclasses
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dmtc.api.plotting import html_table
from dmtc.core.errors import DataError
from dmtc.report import write_sweep_report
from dmtc.report.chart_style import Chart, drawn
from dmtc.report.sweeps import sweep_charts, sweep_tables
from dmtc.report.sweeps.finding import RunRecord, read_runs
from dmtc.report.sweeps.grouping import Panel, group, repeated

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Sweep:
    """Finished runs below a folder, grouped into rows of repetitions; a notebook shows its tables.

    Runs are repetitions if they differ in nothing but `over`. Gains are differences between runs of the same seed and
    the same labelled images.

    Args:
        folder: Such as `multirun/`.
        over: Dotted keys to average over; those that no run differs in are left out.
        baselines: Methods to compute gains over.

    Raises:
        DataError: There is no such folder, or no finished run in it.

    Examples:
        >>> import dmtc
        >>> sweep = dmtc.Sweep("outputs")
        >>> sweep.plot.scores().savefig("miou.pdf")
    """

    def __init__(
        self,
        folder: str | Path,
        over: Sequence[str] = ("seed", "split.fold"),
        baselines: Sequence[str] = ("supervised", "supervised_long"),
    ) -> None:
        self.folder = Path(folder)
        self.baselines = list(baselines)
        self._records = read_runs(self.folder)
        self.over = repeated(self._records, over)
        self._panels, self._remarks = group(self._records, self.over, self.baselines)
        if not self._panels:
            raise DataError(f"no finished run below {folder}")

    @property
    def plot(self) -> "SweepPlots":
        """Figures for notebooks and papers, such as `sweep.plot.scores()`."""
        return SweepPlots(self._panels, self.baselines)

    def report(self) -> Path:
        """Write `report.html` with everything here, as `job=report runs=DIR` does.

        Returns:
            Its path.

        Raises:
            ConfigError: The folder cannot be written.
        """
        return write_sweep_report(self.folder, self.over, self.baselines)[1]

    def _repr_html_(self) -> str:
        """MIoU by method and number of labels, then every row with gains and costs."""
        parts = []
        for panel in self._panels:
            parts += [f"<b>{escape(panel.title)}: mIoU in percent, mean ± standard deviation</b>"]
            parts += [html_table(*sweep_tables.overview(panel))]
            parts += [html_table(*sweep_tables.details(panel, self.baselines, self.over))]
        if any(row.gains for panel in self._panels for row in panel.rows):
            parts += [f"<p>{escape(sweep_tables.SHORT)}</p>"]
        parts += [f"<p>{escape(remark)}</p>" for remark in [*self._remarks, *_unfinished(self._records)]]
        return f"<div>{''.join(parts)}</div>"


class SweepPlots:
    """Figures of a sweep, as matplotlib figures that a notebook shows as the result of a cell; `savefig` writes them.

    Args:
        panels: Its runs in groups of comparable scores: one data set and one protocol each.
        baselines: Methods to compute gains over.
    """

    def __init__(self, panels: Sequence[Panel], baselines: Sequence[str]) -> None:
        self._panels = panels
        self._baselines = baselines

    def scores(self) -> "Figure":
        """MIoU against the number of labelled images, with the standard deviation over seeds.

        For a single number of labels, or more than eight methods, lists of points instead.
        """
        return self._drawn([(panel, chart) for panel in self._panels for chart in sweep_charts.score_charts(panel)])

    def gains(self) -> "Figure":
        """Gains over each baseline, with 95 % confidence intervals.

        Raises:
            DataError: No run has a baseline of the same seed and labelled images.
        """
        pairs = [(panel, baseline) for panel in self._panels for baseline in self._baselines]
        charts = [(panel, sweep_charts.gain_chart(panel, baseline)) for panel, baseline in pairs]
        found = [(panel, chart) for panel, chart in charts if chart]
        if not found:
            raise DataError(f"no gains: no runs of {' or '.join(self._baselines)} with the same seed and labels")
        return self._drawn(found)

    def classes(self) -> "Figure":
        """IoU of each class as a heat map, mean over seeds.

        Raises:
            DataError: The runs have no scores of classes.
        """
        charts = [(panel, sweep_charts.class_chart(panel)) for panel in self._panels]
        found = [(panel, chart) for panel, chart in charts if chart]
        if not found:
            raise DataError("the runs have no scores of classes")
        return self._drawn(found)

    def _drawn(self, charts: Sequence[tuple[Panel, Chart]]) -> "Figure":
        several = len(self._panels) > 1
        return drawn(
            [dataclasses.replace(of, title=f"{panel.title}: {of.title}") if several else of for panel, of in charts]
        )


def _unfinished(records: Sequence[RunRecord]) -> list[str]:
    return [f"{one.name} is {one.state}{one.reason and f': {one.reason}'}" for one in records if not one.results]
