"""Images of predictions: panels side by side, with a legend of the classes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data import Dataset
from dmtc.report.chart_style import AS_WRITTEN, fix_layout, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Panel:
    """One of the images in a row.

    Attributes:
        title: Its title.
        picture: uint8 (H, W, 3), RGB.
        is_photo: Whether it has more than a few colors.
    """

    title: str
    picture: UInt8Array
    is_photo: bool = False


def panels_of(
    image: UInt8Array, truth: UInt8Array, predictions: Sequence[tuple[str, UInt8Array]], palette: UInt8Array
) -> list[Panel]:
    """Panels of the image, the truth, each prediction with its share of wrong pixels, and the errors of the last one.

    Args:
        image: uint8 (H, W, 3), RGB.
        truth: uint8 (H, W), class index or `IGNORE_INDEX`.
        predictions: Titles and classes, uint8 (H, W), the final one last.
        palette: From `color_table`.
    """
    panels = [Panel("image", image, is_photo=True), Panel("truth", palette[truth])]
    known = max(1, int((truth != IGNORE_INDEX).sum()))
    wrong = np.zeros(truth.shape, np.bool_)
    for title, prediction in predictions:
        wrong = (prediction != truth) & (truth != IGNORE_INDEX)
        panels.append(Panel(f"{title}: {wrong.sum() / known:.0%} wrong", palette[prediction]))
    return [*panels, Panel("errors at the end", _errors(image, wrong), is_photo=True)]


def draw_panels(panels: Sequence[Panel], dataset: Dataset) -> bytes:
    """Panels side by side, with a legend of the classes, as a PNG."""
    import matplotlib as mpl

    figure = panel_figure([panels], dataset)
    with mpl.rc_context(AS_WRITTEN):
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=80)
        return content.getvalue()


def panel_figure(rows: Sequence[Sequence[Panel]], dataset: Dataset) -> "Figure":
    """Rows of panels, with a legend of the classes."""
    # Imported late, as matplotlib is slow to import.
    import matplotlib as mpl
    from matplotlib.patches import Patch

    with mpl.rc_context(AS_WRITTEN):
        heights = [3 * row[0].picture.shape[0] / row[0].picture.shape[1] for row in rows]
        columns = max(map(len, rows))
        figure = new_figure(3 * columns, sum(heights) + 0.35 * len(rows) + 0.45)
        grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        for row, line in zip(rows, grid, strict=True):
            for axis, panel in zip(line, row, strict=False):
                axis.imshow(panel.picture, interpolation="nearest")
                axis.set_title(panel.title, fontsize=11)
            for axis in line:
                axis.axis("off")
        legend = [
            Patch(color=color / 255, label=name) for name, color in zip(dataset.classes, dataset.palette, strict=True)
        ]
        figure.legend(handles=legend, loc="outside lower center", ncols=min(len(legend), 11), fontsize=9, frameon=False)
        fix_layout(figure)
    return figure


def legend_of(dataset: Dataset) -> list[tuple[str, tuple[int, int, int]]]:
    """Name and color of each class."""
    return [
        (name, (int(red), int(green), int(blue)))
        for name, (red, green, blue) in zip(dataset.classes, dataset.palette, strict=True)
    ]


def color_table(dataset: Dataset) -> UInt8Array:
    """uint8 (256, 3): the color of every label value; ignored pixels are white."""
    return dataset.task.color_table


def _errors(image: UInt8Array, wrong: npt.NDArray[np.bool_]) -> UInt8Array:
    """The image in gray with wrong pixels in red."""
    gray = np.repeat(image.mean(axis=2, keepdims=True) * 0.5 + 100, 3, axis=2).astype(np.uint8)
    gray[wrong] = (214, 39, 40)
    return gray
