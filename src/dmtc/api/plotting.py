"""Figures of a run for notebooks: `run.plot.curves()` and so on, as in its report."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from dmtc.api.label_plotting import LabelPlots, spaced
from dmtc.api.labelled_run import LabelledRun
from dmtc.config.methods import method_title
from dmtc.core.errors import DataError
from dmtc.engine.looking import look
from dmtc.report.chart_style import Chart, drawn, png_of
from dmtc.report.pictures import color_table, panel_figure, panels_of
from dmtc.report.report_folder import FIGURES
from dmtc.report.runs import run_charts
from dmtc.report.runs.phase_rows import phase_table
from dmtc.report.runs.run_data import RunFacts, read_run
from dmtc.report.runs.run_report import classes_of
from dmtc.report.runs.step_charts import step_charts
from dmtc.report.runs.step_views import rows_of
from dmtc.report.runs.validation import StageScores, kept_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plots(LabelPlots):
    """Figures of a run, as matplotlib figures that a notebook shows as the result of a cell; `savefig` writes them.

    Charts are those of the report.

    Args:
        run: The run, finished or not.

    Examples:
        >>> import dmtc
        >>> figure = dmtc.Run.load("outputs/first").plot.laboratory("r1-a", label_ratio=0.3)
        >>> figure.savefig("laboratory.png")
    """

    def curves(self, every: bool = False) -> "Figure":
        """MIoU over rounds and the loss over steps.

        Args:
            every: Every logged value instead.

        Raises:
            DataError: Nothing is logged yet.
        """
        facts = self._facts()
        logged = run_charts.metric_charts(facts)
        if every:
            return _drawn(logged, 4, "nothing is logged yet")
        score = run_charts.score_chart(facts, self._scores(facts))
        return _drawn([*([score] if score else []), *logged[:1]], 2, "nothing is logged yet")

    def classes(self) -> "Figure":
        """IoU of each class, at the start and now.

        Raises:
            DataError: No phase is done.
        """
        facts = self._facts()
        if not facts.stages:
            raise DataError("no scores of classes: no phase is done by every network")
        whose, before, after = classes_of(facts, self._scores(facts))
        return _drawn([run_charts.class_chart(facts.classes, before, after, whose)], 1, "")

    def labels(self) -> "Figure":
        """Quality and amount of the pseudo-labels that each network learned from, by round or by step.

        Raises:
            DataError: There are none.
        """
        facts = self._facts()
        return _drawn([*run_charts.label_charts(facts), *step_charts(facts)], 2, "no phase with pseudo-labels is done")

    def calibration(self) -> "Figure":
        """Is a teacher right as often as it is sure? One chart per round.

        Raises:
            DataError: There are no pseudo-labels whose truth is known.
        """
        charts = run_charts.calibration_charts(self._facts())
        return _drawn(charts, 4, "no calibration: there are no pseudo-labels whose truth is known")

    def pictures(self, count: int = 4) -> "Figure":
        """Validation images with truth, prediction and errors.

        Args:
            count: Number of images, evenly spaced over the validation part.

        Raises:
            ConfigError: `count` is below 1.
            DataError: An image cannot be read.
        """
        run, palette, rows = self._run, color_table(self._run.dataset), []
        for sample in map(run.dataset.sample, spaced(run.dataset.val, count)):
            predicted = run.predict(sample.image)
            assert isinstance(predicted, np.ndarray)
            rows.append(panels_of(sample.image, sample.label, [("prediction", predicted)], palette))
        return panel_figure(rows, run.dataset)

    def step(self, phase: str | None = None, step: int | None = None) -> "Figure":
        """What a training step showed: views, labels, selected pixels and the student's prediction.

        Args:
            phase: By default the last that learns from unlabelled images.
            step: Number of the step, from 1; by default the last of the phase.

        Raises:
            ConfigError: There is no such phase or step.
        """
        run = self._run
        name = phase or next((one.name for one in reversed(run.plan) if one.learns_from_unlabelled), run.plan[-1].name)
        rows = rows_of(look(run.components, run.folder, name, step), color_table(run.dataset))
        return panel_figure([row.panels for row in rows], run.dataset)

    def _facts(self) -> RunFacts:
        return read_run(self._run.components, self._run.folder)

    def _scores(self, facts: RunFacts) -> dict[str, StageScores]:
        """Of ensembles, as far as a report has them."""
        folder = self._run.folder
        if not facts.stages:
            return {}
        return kept_scores(self._run.components, folder, facts.stages, folder.path / FIGURES / "validation.json")


def run_html(run: LabelledRun) -> str:
    """The phases of a run as a table, and its curves; for a run without any, its folder alone."""
    title = f"<b>{escape(method_title(run.config))}</b> in {escape(str(run.folder.path))}"
    try:
        header, rows = phase_table(read_run(run.components, run.folder))
    except DataError as error:
        return f"<div>{title}: {escape(str(error))}</div>"
    table = html_table(header, rows)
    try:
        picture = b64encode(png_of(Plots(run).curves())).decode()
    except DataError:
        return f"<div>{title}{table}</div>"
    curves = f'<img alt="curves" src="data:image/png;base64,{picture}">'
    return f"<div>{title}{table}{curves}</div>"


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts for a notebook."""
    lines = [
        f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in [("th", header), *(("td", row) for row in rows)]
    ]
    return f"<table><thead>{lines[0]}</thead><tbody>{''.join(lines[1:])}</tbody></table>"


def _drawn(charts: Sequence[Chart], columns: int, missing: str) -> "Figure":
    if not charts:
        raise DataError(missing)
    return drawn(charts, columns)
