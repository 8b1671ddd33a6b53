"""Common parts of all charts: colors, sizes, and the output to pages and files.

Charts are drawn with matplotlib, once for each output. In a page, a chart is an SVG with the page's font and its color
variables, so that it follows light and dark mode; in a file, its background is white.
"""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported late at run time, as matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#1c2026", "#68707c", "#e2e5ea"

# Distinguishable with any kind of color vision, and in gray by markers. Light mode, then dark.
_METHODS = {
    "supervised": ("#68707d", "#98a1b0"),
    "supervised_long": ("#3d434c", "#c9d0da"),
    "dmtc": ("#d55e00", "#ff8a3d"),
    "dmt": ("#0072b2", "#53b1f0"),
    "cbst": ("#94700a", "#dcb53a"),
    "dst": ("#0f8b8d", "#3ecfd0"),
    "flip": ("#b5508f", "#ea93c8"),
    "naive": ("#8c5a3c", "#cf9b78"),
    "online": ("#66781e", "#b3c957"),
}
_NETWORKS = {"a": ("#00805d", "#3ecba0"), "b": ("#8a4fb8", "#c393ea"), "ensemble": ("#1c2027", "#e8ebf1")}
_OTHERS = [("#b23a48", "#f2808c"), ("#4f5bb5", "#98a2f5"), ("#3f7d20", "#86c966"), ("#7a4a86", "#c596d2")]
_MARKERS = "osD^vPX*<>"

VARIABLES = {
    "ink": (INK, "#e8ebf0"),
    "muted": (MUTED, "#98a1af"),
    "line": (LINE, "#2c323b"),
    **{f"method-{name}": pair for name, pair in _METHODS.items()},
    **{f"network-{name}": pair for name, pair in _NETWORKS.items()},
    **{f"other-{number}": pair for number, pair in enumerate(_OTHERS)},
}
"""The page's color variables: light and dark. All light colors differ, so that they identify the variable in an SVG."""

AS_WRITTEN: dict[Any, Any] = {"text.parse_math": False}
"""For everything drawn: a `$` in class names does not start a formula."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dmtc",
    **AS_WRITTEN,
    "font.size": 11.0,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "normal",
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "ytick.major.size": 0.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Chart:
    """One pair of axes.

    Attributes:
        title: Title, which names the vertical axis.
        draw: Draws on the axes.
        width: Width in pixels of a page, where text has the page's small size.
        height: Height, likewise.
        numbers: The values as header and rows of a table.
    """

    title: str
    draw: "Callable[[Axes], None]"
    width: int = 420
    height: int = 260
    numbers: tuple[list[str], list[list[str]]] | None = field(default=None, compare=False)

    def svg(self) -> str:
        """An SVG element in the page's colors and font; the page itself shows the title."""
        with _styled():
            from matplotlib.backends.backend_svg import FigureCanvasSVG
            from matplotlib.figure import Figure

            figure = Figure(figsize=(self.width / 72, self.height / 72), layout="constrained")
            figure.patch.set_alpha(0)
            axes = figure.add_subplot()
            axes.patch.set_alpha(0)
            self.draw(axes)
            fix_layout(figure)
            out = io.StringIO()
            FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
        return _for_page(out.getvalue(), self.title)


def sheet(charts: Sequence[Chart], columns: int = 1) -> dict[str, bytes]:
    """Charts side by side on white, as file contents by suffix (.png and .svg); empty without charts."""
    if not charts:
        return {}
    figure = drawn(charts, columns)
    with _styled():
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=160)
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return {".png": png.getvalue(), ".svg": svg.getvalue()}


def drawn(charts: Sequence[Chart], columns: int = 1) -> "Figure":
    """Charts side by side on white, at least one."""
    with _styled():
        columns = min(columns, len(charts))
        rows = -(-len(charts) // columns)
        height = max(chart.height for chart in charts) + 22
        figure = new_figure(columns * charts[0].width / 72, rows * height / 72)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, chart in zip(grid, charts, strict=False):
            chart.draw(axes)
            axes.set_title(chart.title)
        for axes in grid[len(charts) :]:
            axes.set_axis_off()
        fix_layout(figure)
    return figure


def png_of(figure: "Figure") -> bytes:
    """A figure as a PNG of the size that a notebook shows."""
    out = io.BytesIO()
    with _styled():
        figure.savefig(out, format="png", dpi=80)
    return out.getvalue()


def new_figure(width: float, height: float) -> "Figure":
    """An empty white figure, in inches; a notebook shows it as the result of a cell."""
    return _shown_figure()(figsize=(width, height), facecolor="white", layout="constrained")


@cache
def _shown_figure() -> "type[Figure]":
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that needs no pyplot to be shown in a notebook."""

        def _repr_png_(self) -> bytes:
            return png_of(self)

    return ShownFigure


def fix_layout(figure: "Figure") -> None:
    """Compute a figure's layout once, as matplotlib would do it twice for every file."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine(None)


def network_color(network: str) -> str:
    """The color of a network or of the "ensemble" in all charts; other letters share a few colors."""
    return _NETWORKS[network][0] if network in _NETWORKS else _OTHERS[ord(network[0]) % len(_OTHERS)][0]


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """The color of each method in all charts; custom methods get the remaining colors in order."""
    custom = [method for method in methods if method not in _METHODS]
    spare = {method: _OTHERS[number % len(_OTHERS)][0] for number, method in enumerate(sorted(custom))}
    return {method: _METHODS[method][0] if method in _METHODS else spare[method] for method in methods}


def method_marker(method: str) -> str:
    """The marker of a method in all charts; custom methods share the last one."""
    known = list(_METHODS)
    return _MARKERS[known.index(method) if method in known else -1]


def variable_of(color: str) -> str:
    """The page's variable for a color."""
    return next(f"var(--{name})" for name, (light, _) in VARIABLES.items() if light == color)


def percent(axes: "Axes", axis: str = "y", low: float | None = None, high: float | None = None) -> None:
    """Label an axis of shares in percent, with at most six ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    one = axes.yaxis if axis == "y" else axes.xaxis
    one.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    one.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
    if axis == "y":
        axes.set_ylim(low, high)
        axes.grid(axis="x", visible=False)
    else:
        axes.set_xlim(low, high)
        axes.grid(axis="y", visible=False)


def label_ends(axes: "Axes", ends: Sequence[tuple[float, float, str, str]], size: float = 10.5) -> None:
    """Write the names of lines next to their ends, without overlap.

    Args:
        axes: The axes of the lines; their limits and layout must be final except for the space on the right.
        ends: The end (x, y), the name and the color of each line.
        size: Font size.
    """
    if not ends:
        return
    low, high = axes.get_ylim()
    grid, figure = axes.get_gridspec(), axes.get_figure(root=True)
    assert grid is not None and figure is not None  # noqa: PT018
    # Titles and tick labels take about a fifth of the height.
    gap = (high - low) * size * 1.25 / 72 / (0.8 * figure.get_figheight() / grid.nrows)
    placed: list[float] = []
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    for i in order:
        placed.append(max(ends[i][1], placed[-1] + gap) if placed else ends[i][1])
    # Labels were only moved up; shift all of them down to center them on their lines.
    shift = sum(y - ends[i][1] for y, i in zip(placed, order, strict=True)) / len(placed)
    for y, i in zip(placed, order, strict=True):
        x, _, name, color = ends[i]
        axes.annotate(
            name,
            (x, min(max(y - shift, low), high)),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=size,
            annotation_clip=False,
        )


def heat_chart(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]], digits: int = 0
) -> Chart:
    """A heat map of shares in percent; larger values are darker."""

    def draw(axes: "Axes") -> None:
        import numpy as np

        values = np.array([[np.nan if v is None else v for v in line] for _, line in rows], dtype=float)
        axes.grid(visible=False)
        axes.pcolormesh(values, cmap="Blues", vmin=0, vmax=1.25, edgecolors="white", linewidth=1.5)
        for (y, x), value in np.ndenumerate(values):
            text, color = "-" if np.isnan(value) else f"{100 * value:.{digits}f}", INK if value < 0.72 else "white"
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9, color=color)
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if max(map(len, columns)) > 4 else {}
        axes.set_xticks(np.arange(len(columns)) + 0.5, list(columns), **turned)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [label for label, _ in rows])
        axes.tick_params(length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.spines["bottom"].set_visible(False)

    label_width = 12 + 7 * max(len(label) for label, _ in rows)
    return Chart(title, draw, label_width + 40 * len(columns), 70 + 21 * len(rows))


@contextmanager
def _styled() -> Any:
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def _for_page(svg: str, title: str) -> str:
    """The <svg> element without a size, with the page's font and color variables."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    head, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    assert box, "matplotlib always writes one"
    rest = re.sub(r"font: ([^;\"]*?)([\d.]+px) [^;\"]*", r"font-size: \2", rest)
    for name, (light, _) in VARIABLES.items():
        rest = rest.replace(light, f"var(--{name})")
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {box[0]} {links} xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}">{rest}'
