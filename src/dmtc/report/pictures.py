"""Images of predictions: panels side by side, with a legend of the classes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data import Dataset
from dmtc.report.chart_style import AS_WRITTEN, fix_layout


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
    # Imported late, as matplotlib is slow to import.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with mpl.rc_context(AS_WRITTEN):
        height, width = panels[0].picture.shape[:2]
        figure = Figure(figsize=(3 * len(panels), 3 * height / width + 0.8), layout="constrained")
        for axis, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
            axis.imshow(panel.picture, interpolation="nearest")
            axis.set_title(panel.title, fontsize=11)
            axis.axis("off")
        legend = [
            Patch(color=color / 255, label=name) for name, color in zip(dataset.classes, dataset.palette, strict=True)
        ]
        figure.legend(handles=legend, loc="outside lower center", ncols=min(len(legend), 11), fontsize=9, frameon=False)
        fix_layout(figure)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=80)
        return content.getvalue()


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
