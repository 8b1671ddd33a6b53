"""The charts of a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dmtc.report.chart_style import INK, MUTED, Chart, heat_chart, label_ends, network_color, percent
from dmtc.report.runs.run_data import RunFacts
from dmtc.report.runs.validation import StageScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAIN, _LOSS = network_color("a"), "#b23a48"
_MOST_CLASSES = 40
_RATIO = "label ratio"
_AXES = ("phase", "network", "step", "total_step", "images")
"""Keys in lines of metrics.jsonl that are not plotted as curves."""

Line = tuple[str, Sequence[float], Sequence[float]]
"""A network or "ensemble", and its horizontal and vertical values."""


def score_chart(facts: RunFacts, ensembles: Mapping[str, StageScores]) -> Chart | None:
    """The mIoU over rounds, or over steps for a run without rounds; None if there is only one score."""
    if len(facts.stages) < 2:
        lines = [
            (network, [each["step"] for each in found], [each["miou"] for each in found])
            for network, found in ((r.trainee, r.evaluations) for r in facts.records.values())
            if len(found) > 1
        ]
        return _lines("mIoU over steps, %", lines, "step") if lines else None
    rounds = [stage.title.removeprefix("round ") for stage in facts.stages]
    of = {n: [facts.records[stage.phases[n]].miou_last for stage in facts.stages] for n in facts.networks}
    if len(of) > 1 and all(stage.key in ensembles for stage in facts.stages):
        of["ensemble"] = [ensembles[stage.key].miou for stage in facts.stages]
    x = list(range(len(rounds)))
    lines = [(name, x, values) for name, values in of.items()]
    return _lines("mIoU over rounds, %", lines, "round", ticks=rounds, numbers=True)


def class_chart(
    classes: Sequence[str], before: Sequence[float | None], after: Sequence[float | None], whose: str
) -> Chart:
    """IoU of each class at the start (hollow) and now, the highest on top."""
    known = [(a, b, name) for name, b, a in zip(classes, before, after, strict=True) if a is not None]
    title = f"IoU of each class, {whose}, start to now, %"
    if len(known) > _MOST_CLASSES:
        known = sorted(known, key=lambda one: abs(one[0] - (one[1] or 0)))[-_MOST_CLASSES:]
        title += f": the {_MOST_CLASSES} that changed most"
    known.sort(key=lambda one: one[0])

    def draw(axes: "Axes") -> None:
        for y, (now, then, _) in enumerate(known):
            change = 0.0 if then is None else now - then
            color = MUTED if abs(change) < 0.005 else _GAIN if change > 0 else _LOSS
            if then is not None:
                axes.plot([then, now], [y, y], color=color, linewidth=1.6)
                axes.plot([then], [y], "o", markerfacecolor="none", markeredgecolor=MUTED, markersize=5)
                text = f"{100 * now:.0f}  {100 * change:+.0f}" if color != MUTED else f"{100 * now:.0f}"
            else:
                text = f"{100 * now:.0f}"
            axes.plot([now], [y], "o", color=color, markersize=6)
            axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5, color=color)
        axes.set_yticks(range(len(known)), [name.replace("_", " ") for *_, name in known])
        for label in axes.get_yticklabels():
            label.set_color(INK)
        axes.set_ylim(-0.7, len(known) - 0.3)
        percent(axes, "x", 0, 1)

    rows = [[name, _text(then), _text(now)] for now, then, name in reversed(known)]
    return Chart(title, draw, 440, 60 + 19 * len(known), (["class", "start", "now"], rows))


def label_charts(facts: RunFacts) -> list[Chart]:
    """Coverage and quality of the pseudo-labels that each network was trained on."""
    of_rounds = {phase.name for phase in facts.plan if phase.stage == "rounds"}
    learned = [record for record in facts.records.values() if record.pseudo and record.name in of_rounds]
    if not learned:
        return []
    number = {name: k for k, stage in enumerate(facts.stages) for name in stage.phases.values()}
    learned = [record for record in learned if record.name in number]

    def lines(key: str) -> list[Line]:
        found = []
        for network in facts.networks:
            of = [r for r in learned if r.trainee == network and getattr(r.pseudo, key) is not None]
            if of:
                found.append((network, [number[r.name] for r in of], [getattr(r.pseudo, key) for r in of]))
        return found

    ticks = [str(k) for k in range(1, len(facts.stages))]
    ratios = [r.label_ratio for r in learned if r.trainee == learned[0].trainee and r.label_ratio is not None]
    charts = []
    for key, title in (
        ("miou", "mIoU of a network's pseudo-labels, %"),
        ("accuracy", "pixel accuracy of the pseudo-labels, %"),
        ("coverage", "pixels with a pseudo-label, %"),
    ):
        of = lines(key)
        if of:
            extra: list[Line] = (
                [(_RATIO, [float(k + 1) for k in range(len(ratios))], ratios)] if key == "coverage" and ratios else []
            )
            charts.append(_lines(title, [*of, *extra], "round", ticks=ticks, first=1, numbers=True))
    return charts


def calibration_charts(facts: RunFacts) -> list[Chart]:
    """Confidence against accuracy of the teachers' predictions, one chart per round."""
    charts = []
    for stage in facts.stages:
        of = [
            (str(facts.teacher_of(record)), record.pseudo.calibration)
            for record in facts.of(stage)
            if record.pseudo and record.pseudo.calibration
        ]
        if of:
            errors = sorted(f"{teacher} {100 * bins['error']:.1f}" for teacher, bins in of)
            charts.append(Chart(f"{stage.title}: error {', '.join(errors)}", _calibration(of), 220, 200))
    return charts


def class_table(facts: RunFacts, teacher: str, key: str) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """A value of a teacher's pseudo-labels by class and round; no rows if there are none."""
    of = [
        (stage.title.removeprefix("round "), getattr(record.pseudo, key))
        for stage in facts.stages
        for record in facts.of(stage)
        if record.pseudo and getattr(record.pseudo, key) and facts.teacher_of(record) == teacher
    ]
    columns = [title for title, _ in of]
    rows = [(name, [values[i] for _, values in of]) for i, name in enumerate(facts.classes)] if of else []
    return columns, rows


def class_tables(facts: RunFacts) -> list[tuple[str, int, list[str], list[tuple[str, list[float | None]]]]]:
    """Thresholds, precision and recall of each teacher by class and round, with their number of decimals."""
    tables = []
    for key, what in (
        ("thresholds", "confidence threshold of {}'s labels, %"),
        ("precision", "precision of {}'s labels, %"),
        ("recall", "recall of {}'s labels, %"),
    ):
        for network in facts.networks:
            columns, rows = class_table(facts, network, key)
            if rows:
                tables.append((what.format(network), int(key == "thresholds"), columns, rows))
    return tables


def table_charts(facts: RunFacts, key: str) -> list[Chart]:
    """The tables of one value as heat maps."""
    tables = ((network, *class_table(facts, network, key)) for network in facts.networks)
    digits = int(key == "thresholds")
    return [
        heat_chart(f"{key} of {whose}'s labels, %", columns, rows, digits) for whose, columns, rows in tables if rows
    ]


def metric_charts(facts: RunFacts) -> list[Chart]:
    """A small chart for every logged value, over all steps of each network, one phase after another."""
    offsets: dict[str, int] = {}
    ends: dict[str, list[int]] = {}
    for phase in facts.plan:
        done = ends.setdefault(phase.trainee, [0])
        offsets[phase.name] = done[-1]
        done.append(done[-1] + phase.steps)
    series: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for line in facts.metrics:
        if "miou" in line:  # an evaluation: too few points for a curve
            continue
        for key, value in line.items():
            if key not in _AXES and isinstance(value, int | float) and line["phase"] in offsets:
                x, y = series.setdefault(key, {}).setdefault(str(line.get("network", "")), ([], []))
                x.append(offsets[line["phase"]] + line["step"])
                y.append(value)
    boundaries = next(iter(ends.values()), [])[1:-1]
    charts = []
    for key in sorted(series, key=_importance):
        lines = [(network, x, y) for network, (x, y) in sorted(series[key].items())]
        if max(len(x) for _, x, _ in lines) > 1:
            title = key.replace("_", " ").replace("/", ": ")
            charts.append(Chart(title, _curves(lines, boundaries), 220, 160))
    return charts


def _importance(key: str) -> tuple[bool, bool, bool, str]:
    """Sort key: the loss first, then its terms, their logs, and the values about the machine."""
    machine = key in ("learning_rate", "gradient_norm", "images_per_s", "memory_bytes")
    return (key != "loss", machine, "/" in key, key)


def _lines(
    title: str,
    lines: Sequence[Line],
    below: str,
    ticks: Sequence[str] | None = None,
    first: int = 0,
    numbers: bool = False,
) -> Chart:
    """A chart of shares, with lines named at their ends."""

    def draw(axes: "Axes") -> None:
        ends = []
        for name, x, y in lines:
            plain = name == _RATIO
            color = MUTED if plain else network_color(name)
            style = "--" if plain else "-"
            axes.plot(x, y, style, color=color, linewidth=1.2 if plain else 2.4 if name == "ensemble" else 1.8)
            if ticks is not None and not plain:
                axes.plot(x, y, "o", color=color, markersize=4.5)
            ends.append((x[-1], y[-1], name, color))
        if ticks is not None:
            axes.set_xticks(range(first, first + len(ticks)), list(ticks))
        axes.set_xlabel(below)
        axes.margins(x=0.04, y=0.12)
        percent(axes)
        label_ends(axes, ends)

    table = None
    if numbers and ticks is not None:
        header = [below, *(name for name, _, _ in lines)]
        at = [dict(zip(x, y, strict=True)) for _, x, y in lines]
        table = header, [[tick, *(_text(of.get(k)) for of in at)] for k, tick in enumerate(ticks, first)]
    return Chart(title, draw, 420, 240, table)


def _calibration(of: Sequence[tuple[str, Mapping[str, Any]]]) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        ends = []
        for network, bins in of:
            x, y, share = bins["confidence"], bins["accuracy"], bins["share"]
            color = network_color(network)
            axes.plot(x, y, color=color, linewidth=1.4)
            axes.scatter(x, y, s=[6 + 60 * part / max(share) for part in share], color=color, linewidths=0)
            ends.append((x[-1], y[-1], network, color))
        percent(axes, "x", 0, 1.04)
        percent(axes, "y", 0, 1.04)
        axes.set_xlabel("confidence, %")
        label_ends(axes, ends)

    return draw


def _curves(lines: Sequence[Line], boundaries: Sequence[int]) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import EngFormatter, MaxNLocator

        for x in boundaries:
            axes.axvline(x, color=MUTED, linewidth=0.6, alpha=0.5)
        ends = []
        for network, x, y in lines:
            axes.plot(x, y, color=network_color(network) if network else INK, linewidth=1.2)
            ends.append((x[-1], y[-1], network, network_color(network) if network else INK))
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        highest = max(abs(value) for _, _, y in lines for value in y)
        if highest >= 1000 or 0 < highest < 0.01:
            axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        label_ends(axes, ends)

    return draw


def _text(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
