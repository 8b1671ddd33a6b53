"""The confusion matrix as a chart, and as a picture for loggers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from dmtc.core.types import UInt8Array
from dmtc.report.chart_style import Chart, heat_chart, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CLASSES = 30
_LEAST_WIDTH = 440  # for the title


def confusion_charts(results: Mapping[str, Any] | None) -> list[Chart]:
    """The confusion matrix of the validation images, and of the test images if there are any.

    Args:
        results: As in results.json; None for a run that is not finished.

    Returns:
        Charts whose rows are true classes and whose columns are predicted ones; a row adds up to 100 %. No chart for
        results without counts.
    """
    results = results or {}
    whose = str(results.get("per_class_iou_of"))
    whose = "the ensemble" if whose == "ensemble" else f"network {whose}"
    parts = (("validation", results), ("test", results.get("test") or {}))
    return [_chart(f"confusion of {whose}, {part} images, %", of) for part, of in parts if of.get("confusion")]


def confusion_picture(results: Mapping[str, Any]) -> UInt8Array | None:
    """The charts as one picture, uint8 (H, W, 3); None if there are none."""
    charts = confusion_charts(results)
    if not charts:
        return None
    encoded = np.frombuffer(sheet(charts)[".png"], np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None, "the PNG has just been written"
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)


def _chart(title: str, results: Mapping[str, Any]) -> Chart:
    classes = list(results["per_class_iou"])
    counts = np.array(results["confusion"], dtype=np.float64)
    shown = _most_confused(counts)
    columns = [classes[i] for i in shown]
    part = counts[np.ix_(shown, shown)]
    if len(shown) < len(classes):
        title += f": the {len(shown)} with the most wrong pixels"
        columns.append("others")
        part = np.column_stack([part, counts[shown].sum(1) - part.sum(1)])
    totals = counts[shown].sum(1)
    rows = [
        (classes[number], [pixels / total if total else None for pixels in line])
        for number, line, total in zip(shown, part.tolist(), totals.tolist(), strict=True)
    ]
    chart = heat_chart(title, columns, rows)

    def draw(axes: "Axes") -> None:
        chart.draw(axes)
        axes.set_xlabel("prediction")
        axes.set_ylabel("truth")

    return replace(chart, draw=draw, width=max(chart.width, _LEAST_WIDTH), height=chart.height + 30)


def _most_confused(counts: npt.NDArray[np.float64]) -> Sequence[int]:
    """All classes or, of many, those with the most pixels that are wrong in truth or prediction, in their order."""
    if len(counts) <= _MOST_CLASSES:
        return range(len(counts))
    wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    return sorted(np.argsort(-wrong, kind="stable")[:_MOST_CLASSES].tolist())
