"""Charts of what a teacher within the step does over the steps of a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmtc.report.chart_style import INK, MUTED, Chart, label_ends, network_color, percent
from dmtc.report.runs.run_data import RunFacts
from dmtc.schedule.phase import phases_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[str, Sequence[float], Sequence[float]]
"""A name, steps, and shares in [0, 1]."""

_KEPT = "/kept"
"""Ending of the names of logged values that are the share of pixels a term selects."""


def step_charts(facts: RunFacts) -> list[Chart]:
    """Over the steps: share and precision of selected pixels, and scores of averages and students."""
    networks = {phase.trainee: None for phase in facts.plan if phase.teacher is not None}
    kept = [(network, *_kept(facts, network)) for network in networks]
    charts = [_chart("pixels selected in training, %", kept, markers=False)]
    for key, title in (
        ("pseudo_coverage", "pixels selected in whole images, %"),
        ("pseudo_accuracy", "selected pixels whose label is right, %"),
        ("pseudo_miou", "mIoU of the labels of selected pixels, %"),
    ):
        charts.append(_chart(title, [(network, *_scored(facts, network, key)) for network in networks]))
    for network in networks:
        of = [(which, *_scored(facts, network, f"{which}_miou")) for which in ("average", "student")]
        whose = f" of network {network}" if len(networks) > 1 else ""
        charts.append(_chart(f"mIoU of the average and of the student{whose}, %", of))
    return [chart for chart in charts if chart is not None]


def _kept(facts: RunFacts, network: str) -> tuple[list[float], list[float]]:
    """The mean share over the terms that select pixels, by step of the network."""
    steps, shares = [], []
    for line in _lines_of(facts, network):
        values = [value for name, value in line.items() if name.endswith(_KEPT)]
        if values:
            steps.append(line["total_step"])
            shares.append(sum(values) / len(values))
    return steps, shares


def _scored(facts: RunFacts, network: str, key: str) -> tuple[list[float], list[float]]:
    of = [line for line in _lines_of(facts, network) if key in line]
    return [line["total_step"] for line in of], [line[key] for line in of]


def _lines_of(facts: RunFacts, network: str) -> list[dict]:
    """The logged values of the phases of a network that a teacher within the step labels for."""
    before = {
        phase.name: sum(earlier.steps for earlier in phases_before(phase, facts.plan))
        for phase in facts.plan
        if phase.trainee == network and phase.teacher is not None
    }
    return [
        {**line, "total_step": before[line["phase"]] + line["step"]}
        for line in facts.metrics
        if line["phase"] in before
    ]


def _chart(title: str, curves: Sequence[Curve], markers: bool = True) -> Chart | None:
    """A chart of shares over steps; None if there is nothing to show."""
    shown = [curve for curve in curves if curve[1] and (markers or len(curve[1]) > 1)]
    if not shown:
        return None

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import EngFormatter, MaxNLocator

        ends = []
        for name, x, y in shown:
            color = {"average": network_color("a"), "student": MUTED}.get(name) or network_color(name)
            axes.plot(x, y, "o-" if markers else "-", color=color, markersize=4.5, linewidth=1.8)
            ends.append((x[-1], y[-1], name, color))
        axes.set_xlabel("step", color=INK)
        axes.margins(x=0.04, y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        percent(axes)
        label_ends(axes, ends)

    return Chart(title, draw, 420, 220)
