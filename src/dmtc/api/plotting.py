"""Figures of a run for notebooks: `run.plot.curves()` and so on, as in its report."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from dmtc.api.labelled_run import LabelledRun
from dmtc.config.methods import method_title
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.engine.looking import look
from dmtc.evaluation.disagreement import Disagreement
from dmtc.pseudo import PseudoLabel
from dmtc.report.chart_style import Chart, drawn, png_of
from dmtc.report.pictures import Panel, color_table, panel_figure, panels_of
from dmtc.report.report_folder import FIGURES
from dmtc.report.runs import run_charts
from dmtc.report.runs.phase_rows import phase_table
from dmtc.report.runs.run_data import RunFacts, read_run
from dmtc.report.runs.run_report import classes_of
from dmtc.report.runs.step_charts import step_charts
from dmtc.report.runs.step_views import gray, rows_of
from dmtc.report.runs.validation import StageScores, kept_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAME, _TEACHER, _STUDENT, _WRONG = (217, 217, 217), (0, 114, 178), (230, 153, 0), (214, 39, 40)
_RIGHT = (204, 222, 235)


class Plots:
    """Figures of a run, as matplotlib figures that a notebook shows as the result of a cell; `savefig` writes them.

    Charts are those of the report.

    Args:
        run: The run, finished or not.

    Examples:
        >>> import dmtc
        >>> figure = dmtc.Run.load("outputs/first").plot.laboratory("r1-a", label_ratio=0.3)
        >>> figure.savefig("laboratory.png")
    """

    def __init__(self, run: LabelledRun) -> None:
        self._run = run

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
        run, ids = self._run, self._run.dataset.val
        if count < 1:
            raise ConfigError(f"count should be at least 1, but is {count}")
        count, palette = min(count, len(ids)), color_table(run.dataset)
        rows = []
        for sample in (run.dataset.sample(ids[row * len(ids) // count]) for row in range(count)):
            predicted = run.predict(sample.image)
            assert isinstance(predicted, np.ndarray)
            rows.append(panels_of(sample.image, sample.label, [("prediction", predicted)], palette))
        return panel_figure(rows, run.dataset)

    def laboratory(self, phase: str | None = None, image: str | int = 0, label_ratio: float | None = None) -> "Figure":
        """One unlabelled image: what a phase's teacher says of it, what is kept, and what its student makes of it.

        Args:
            phase: Such as "r1-a"; by default the first with pseudo-labels.
            image: Id or number of an unlabelled image.
            label_ratio: Share of every class to keep, in (0, 1]; by default the phase's own.

        Raises:
            ConfigError: There is no such phase, or it learns from no pseudo-labels.
            DataError: There is no such image, or the pseudo-labels are damaged.
        """
        run = self._run
        name = phase or next((one.name for one in run.plan if one.label_from), "")
        labels = run.pseudo_labels(name, label_ratio)
        number = labels.ids.index(image) if image in labels.ids else image
        if not isinstance(number, int) or not -len(labels) <= number < len(labels):
            raise DataError(f"no unlabelled image {image!r}; there are {len(labels)}, such as {labels.ids[0]!r}")
        pseudo = labels[number]
        # The student is asked about every pixel, whatever share is kept.
        student = run.student(name, run.pseudo_labels(name, 1.0).of(pseudo.id))
        return panel_figure(_laboratory(pseudo, student, color_table(run.dataset)), run.dataset)

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
    lines = [
        f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in [("th", header), *(("td", row) for row in rows)]
    ]
    try:
        picture = b64encode(png_of(Plots(run).curves())).decode()
    except DataError:
        return f"<div>{title}<table>{''.join(lines)}</table></div>"
    curves = f'<img alt="curves" src="data:image/png;base64,{picture}">'
    return f"<div>{title}<table>{''.join(lines)}</table>{curves}</div>"


def _drawn(charts: Sequence[Chart], columns: int, missing: str) -> "Figure":
    if not charts:
        raise DataError(missing)
    return drawn(charts, columns)


def _laboratory(pseudo: PseudoLabel, student: Disagreement, palette: UInt8Array) -> list[list[Panel]]:
    kept = pseudo.label != IGNORE_INDEX
    wins = student.wins(pseudo.label, pseudo.confidence) & kept
    opinions = np.full((*kept.shape, 3), 255, np.uint8)
    opinions[kept] = _SAME
    opinions[student.disagrees(pseudo.label) & kept] = _TEACHER
    opinions[wins] = _STUDENT
    above = [Panel(pseudo.id, pseudo.image, is_photo=True), Panel(f"kept: {kept.mean():.0%}", palette[pseudo.label])]
    if pseudo.truth is not None:
        known = kept & (pseudo.truth != IGNORE_INDEX)
        wrong = known & (pseudo.label != pseudo.truth)
        right = np.full((*kept.shape, 3), 255, np.uint8)
        right[known], right[wrong] = _RIGHT, _WRONG
        share = f"{wrong.sum() / max(1, known.sum()):.1%}"
        above += [Panel("truth", palette[pseudo.truth]), Panel(f"wrong (red): {share} of kept", right)]
    weight = np.where(kept, student.weight, 0).astype(np.float32)
    below = [
        Panel("confidence: dark is unsure", gray(pseudo.confidence), is_photo=True),
        Panel("student", palette[student.label]),
        Panel(f"student disagrees (blue), wins (orange): {wins.sum() / max(1, kept.sum()):.1%}", opinions),
        Panel("weight in the loss", gray(weight / max(float(weight.max()), 1e-9)), is_photo=True),
    ]
    return [above, below]
