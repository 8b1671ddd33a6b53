"""Charts of a phase's pseudo-labels by class: what a label ratio keeps, how good that is, and who is right."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dmtc.core.types import IGNORE_INDEX
from dmtc.evaluation.disagreement import Disagreement
from dmtc.evaluation.quality import PseudoLabelQuality
from dmtc.pseudo import PseudoLabel
from dmtc.report.chart_style import INK, MUTED, Chart, label_ends, network_color, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RATIOS = np.linspace(0.05, 1, 20)
_RIGHT = {"teacher right": "#0072b2", "student right": "#e69900", "neither": "#d9d9d9"}
_SURER = ("the teacher is surer", "the student is surer: it wins")

Opinions = npt.NDArray[np.int64]
"""int64 (2, 3), disagreeing pixels: the teacher or the student surer; the teacher, the student or neither right."""


def selection_charts(
    quality: PseudoLabelQuality, classes: Sequence[str], label_ratio: float, teacher: str
) -> list[Chart]:
    """What a label ratio keeps of each class, from which confidence, and precision and recall where truth is known."""
    selection = quality.at(label_ratio)
    shown = {
        f"kept at label ratio {label_ratio:.2g}, %": selection.realized,
        "confidence threshold, %": selection.thresholds,
    }
    if quality.images:
        shown |= {"precision of what is kept, %": selection.precision, "recall, %": selection.recall}
    color = network_color(teacher)
    return [
        Chart(title, _bars(classes if place == 0 else [""] * len(classes), values, color), 260, 60 + 21 * len(classes))
        for place, (title, values) in enumerate(shown.items())
    ]


def precision_chart(
    quality: PseudoLabelQuality, classes: Sequence[str], palette: npt.NDArray[np.uint8], label_ratio: float
) -> Chart:
    """Precision of each class against the label ratio; the dashed line is the phase's own ratio."""
    selections = [quality.at(float(ratio)) for ratio in _RATIOS]

    def draw(axes: "Axes") -> None:
        ends = []
        for place, name in enumerate(classes):
            values = np.array([of.precision[place] for of in selections])
            if np.isnan(values).all():
                continue
            color = tuple(palette[place] / 255)
            axes.plot(_RATIOS, values, color=color, linewidth=1.6)
            ends.append((1.0, values[~np.isnan(values)][-1], name.replace("_", " "), color))
        overall = [of.accuracy for of in selections]
        axes.plot(_RATIOS, overall, color=INK, linewidth=2.6)
        ends.append((1.0, overall[-1], "all pixels", INK))
        axes.axvline(label_ratio, color=MUTED, linewidth=1, linestyle=(0, (6, 3)))
        percent(axes, "x", 0, 1)
        percent(axes, "y", 0, 1.03)
        axes.set_xlabel("label ratio, %")
        label_ends(axes, ends)

    return Chart("precision of pseudo-labels, %", draw, 560, 320)


def opinions_of(pseudo: PseudoLabel, student: Disagreement) -> Opinions:
    """Count an image's pixels on which teacher and student disagree; its truth must be known."""
    assert pseudo.truth is not None
    wins = student.wins(pseudo.label, pseudo.confidence)
    surer = (student.disagrees(pseudo.label) & ~wins, wins)
    teacher, own = pseudo.label == pseudo.truth, student.label == pseudo.truth
    neither = ~teacher & ~own & (pseudo.truth != IGNORE_INDEX)
    return np.array([[(where & of).sum() for of in (teacher, own, neither)] for where in surer], dtype=np.int64)


def opinion_charts(of_phases: Mapping[str, Opinions]) -> list[Chart]:
    """Who is right where they disagree, by phase: once where the teacher is surer, once where the student is."""
    return [Chart(f"where {title}, %", _shares(of_phases, number), 400, 240) for number, title in enumerate(_SURER)]


def _bars(names: Sequence[str], values: npt.NDArray[np.float64], color: str) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        axes.barh(range(len(values)), np.nan_to_num(values), color=color, height=0.62)
        for place, value in enumerate(values):
            text = "-" if np.isnan(value) else f"{100 * value:.0f}"
            axes.annotate(text, (np.nan_to_num(value), place), xytext=(4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        for label in axes.get_yticklabels():
            label.set_color(INK)
        percent(axes, "x", 0, 1.12)

    return draw


def _shares(of_phases: Mapping[str, Opinions], number: int) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        below = np.zeros(len(of_phases))
        for place, (name, color) in enumerate(_RIGHT.items()):
            shares = np.array([of[number, place] / max(1, of[number].sum()) for of in of_phases.values()])
            axes.bar(range(len(of_phases)), shares, bottom=below, color=color, width=0.62, label=name)
            below += shares
        names = [f"{phase}\n{of[number].sum() / max(1, of.sum()):.0%}" for phase, of in of_phases.items()]
        axes.set_xticks(range(len(names)), names)
        percent(axes, "y", 0, 1)
        if number == 0:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, fontsize=10)

    return draw
