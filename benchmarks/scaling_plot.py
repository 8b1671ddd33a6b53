"""One picture a page of `scaling.py`: seconds against each factor, on logarithmic axes."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

INK, MEASURED, PROPORTION = "#222222", "#1f5fa8", "#b0b0b0"


def draw(page: str, sweeps: list[dict], path: Path) -> None:
    """Write a PNG.

    Args:
        page: What is measured.
        sweeps: Each with `factor`, `fixed`, `values`, `seconds`, `slope` and `last_slope`.
        path: The file.
    """
    figure = Figure(figsize=(3.4 * len(sweeps), 3.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Cost of {page} (dashed: growth in proportion to the last point)", color=INK, fontsize=11)
    for axes, sweep in zip(figure.subplots(1, len(sweeps), squeeze=False, sharey=True)[0], sweeps, strict=True):
        values, seconds = sweep["values"], sweep["seconds"]
        proportion = [seconds[-1] * value / values[-1] for value in values]
        axes.plot(values, proportion, color=PROPORTION, linestyle="--", linewidth=1.2)
        axes.plot(values, seconds, color=MEASURED, marker="o", markersize=5, linewidth=1.8)
        axes.set(xscale="log", yscale="log", xlabel=f"{sweep['factor']}\n({sweep['fixed']})")
        title = f"slope {sweep['slope']:.2f}, of the last two {sweep['last_slope']:.2f}"
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_xticks(values, [short(value) for value in values], fontsize=8)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.label.set_fontsize(8)
        axes.tick_params(colors=INK, labelsize=8)
        axes.grid(True, color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("seconds", color=INK, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def short(number: int) -> str:
    """A number as people write it: 6.6k, 103k, 1.6M."""
    for size, unit in ((10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


__all__ = ["draw"]
