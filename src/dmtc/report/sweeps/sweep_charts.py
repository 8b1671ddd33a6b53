"""The charts of a sweep: mIoU against the number of labels, and IoU of each class."""

import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmtc.report.chart_style import INK, MUTED, Chart, heat_chart, label_ends, method_colors, method_marker, percent
from dmtc.report.sweeps.grouping import Panel, Row
from dmtc.report.sweeps.sweep_tables import class_ious, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 8


def score_charts(panel: Panel) -> list[Chart]:
    """The mIoU against the number of labelled images; for a single number or too many lines, lists of points."""
    few = [cell for cell in panel.cells if not any(row.is_full for row in panel.rows if row.cell == cell)]
    names = {row.name for row in panel.rows if row.cell in few}
    full = [row for row in panel.rows if row.is_full]
    if len(few) > 1 and len(names) <= _MOST_LINES:
        return [_curves(panel, [row for row in panel.rows if row.cell in few], full)]
    return [_points([row for row in panel.rows if row.cell == cell], full) for cell in few or panel.cells]


def gain_chart(panel: Panel, baseline: str) -> Chart | None:
    """Gains over a baseline in points, with their 95 % confidence intervals; None without any."""
    rows = [row for row in reversed(panel.rows) if baseline in row.gains]
    if not rows:
        return None

    def draw(axes: "Axes") -> None:
        colors = method_colors([row.method for row in panel.rows])
        axes.axvline(0, color=MUTED, linewidth=1)
        for y, row in enumerate(rows):
            gain, color = row.gains[baseline], colors[row.method]
            margin = 100 * (gain.margin or 0)
            axes.errorbar([100 * gain.mean], [y], xerr=[margin], fmt="D", color=color, markersize=6, capsize=3)
            text = f"{100 * gain.mean:+.1f}"
            axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=10, color=INK)
        axes.set_yticks(range(len(rows)), [f"{row.ratio} ({row.labelled})  {row.name}" for row in rows])
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(colors[row.method])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)

    return Chart(f"gain over {baseline}, points of mIoU", draw, 450, 75 + 24 * len(rows))


def class_table(panel: Panel) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Names of the classes, and for each row its label and each class's mean IoU over seeds."""
    classes = list(dict.fromkeys(name for row in panel.rows for name in row.any.results["per_class_iou"]))
    lines = []
    for row in panel.rows:
        of = [class_ious(run) for run in row.runs.values()]
        values = [[ious[name] for ious in of if ious.get(name) is not None] for name in classes]
        means = [statistics.fmean(v for v in found if v is not None) if found else None for found in values]
        lines.append((f"{row.ratio}  {row.name}", means))
    return classes, lines


def class_chart(panel: Panel) -> Chart | None:
    """The heat map of `class_table`; None without classes."""
    classes, lines = class_table(panel)
    if not classes:
        return None

    return heat_chart("IoU of each class, %", classes, lines)


def _curves(panel: Panel, rows: Sequence[Row], full: Sequence[Row]) -> Chart:
    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import NullLocator

        colors = method_colors([row.method for row in panel.rows])
        cells = sorted({row.cell for row in rows})
        ends: list[tuple[float, float, str, str]] = []
        names = list(dict.fromkeys(row.name for row in rows))
        of_method = [name.partition(" ")[0] for name in names]
        for number, name in enumerate(names):
            of = sorted((row for row in rows if row.name == name), key=lambda row: row.cell)
            color, method = colors[of[0].method], of[0].method
            repeated = of_method[:number].count(method)
            x, y = [row.labelled for row in of], [row.mean for row in of]
            spreads = [statistics.stdev(row.scores) if len(row.runs) > 1 else 0 for row in of]
            axes.errorbar(x, y, spreads, color=color, elinewidth=1, capsize=2.5, fmt="none", alpha=0.7)
            style = [(0, ()), (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))][repeated % 4]
            axes.plot(x, y, color=color, marker=method_marker(method), linestyle=style)
            ends.append((x[-1], y[-1], name, color))
        axes.set_xscale("log", base=2)
        counts = {cell[0]: cell[1] for cell in cells}
        axes.set_xticks(list(counts), [f"{ratio}\n{count}" for count, ratio in counts.items()])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("labelled images: share and number")
        low, high = min(counts), max(counts)
        room = max(high / low, 2) ** 0.06
        axes.set_xlim(low / room, high * room)
        _full_lines(axes, full, colors)
        percent(axes)
        label_ends(axes, ends)

    return Chart("mIoU, %", draw, 450, 310)


def _points(rows: Sequence[Row], full: Sequence[Row]) -> Chart:
    """One line of points per row, the best on top."""
    wrapped = {row: textwrap.fill(row.name, 30, break_long_words=False, break_on_hyphens=False) for row in rows}

    def draw(axes: "Axes") -> None:
        colors = method_colors([row.method for row in [*rows, *full]])
        lines = sorted(rows, key=lambda row: row.mean)
        for y, row in enumerate(lines):
            color = colors[row.method]
            if len(row.runs) > 1:
                axes.plot(
                    row.scores, [y] * len(row.scores), "o", color=color, markersize=4, alpha=0.5, markeredgewidth=0
                )
            axes.plot([row.mean], [y], "D", color=color, markersize=6)
            text = spread(row.scores)
            axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=10, color=INK)
        axes.set_yticks(range(len(lines)), [wrapped[row] for row in lines], linespacing=1.1)
        for label, row in zip(axes.get_yticklabels(), lines, strict=True):
            label.set_color(colors[row.method])
        axes.set_ylim(-0.6, len(lines) - 0.4)
        for row in full if not set(full) & set(rows) else ():
            axes.axvline(row.mean, color=colors[row.method], linewidth=1.2, linestyle=(0, (6, 3)))
            axes.annotate(
                f"{row.method}, all {row.labelled} labels",
                (row.mean, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=colors[row.method],
                fontsize=10,
            )
        percent(axes, "x")

    title = f"mIoU, %, with {rows[0].ratio} labelled ({rows[0].labelled})"
    most_lines = max(text.count("\n") for text in wrapped.values()) + 1
    return Chart(title, draw, 450, 75 + (10 + 14 * most_lines) * len(rows))


def _full_lines(axes: "Axes", full: Sequence[Row], colors: dict[str, str]) -> None:
    """A dashed, named line for each row with all labels."""
    for row in full:
        axes.axhline(row.mean, color=colors[row.method], linewidth=1.2, linestyle=(0, (6, 3)))
        axes.annotate(
            f"{row.method}, all {row.labelled} labels",
            (0, row.mean),
            xycoords=("axes fraction", "data"),
            xytext=(2, 4),
            textcoords="offset points",
            color=colors[row.method],
            fontsize=10,
        )
