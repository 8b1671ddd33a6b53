"""IoU and further metrics, which are functions of the confusion counts registered in `METRICS`.

Naming one in `evaluation.metrics` adds it to metrics.jsonl, loggers, results.json, tables and reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dmtc.core.registry import Registry

Absent = Literal["left_out", "undefined", "zero"]
"""How a class without a value affects the mean over classes; see `mean_over_classes`."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """The value of a metric; in [0, 1] for all built-in metrics.

    Attributes:
        overall: One number; NaN if undefined.
        per_class: One number per class, None where undefined; None for a metric without classes.
    """

    overall: float
    per_class: tuple[float | None, ...] | None = None


_ALWAYS = ("miou", "iou")

METRICS: Registry[MetricValue] = Registry("metric", runtime=["counts", "absent"])
"""The known metrics, as in `evaluation.metrics`. Builders take `counts`, float64 (C, C) with the truth in rows, and may
take `absent: Absent`."""


def metric_faults(names: Any, where: str) -> list[str]:
    """All faults of a list of metrics, one sentence each."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return [f"{where} should be a list of metrics, such as [accuracy], but is {names!r}"]
    faults = [fault for name in names for fault in METRICS.faults({"name": name}, where)]
    faults += [
        f"{where}: {name!r} is always scored; name further metrics"
        for name in _ALWAYS
        if name in names and name in METRICS.names()
    ]
    return faults + ([f"{where} names a metric twice: {list(names)}"] if len({*map(str, names)}) < len(names) else [])


def mean_over_classes(values: Tensor, absent: Absent) -> MetricValue:
    """A metric with one value per class.

    Args:
        values: Float (C,), NaN where undefined.
        absent: How an undefined class affects the mean: "left_out" leaves it out, "undefined" makes the mean NaN,
            "zero" counts it as 0.

    Examples:
        >>> mean_over_classes(torch.tensor([0.5, 1.0, torch.nan]), absent="left_out")
        MetricValue(overall=0.75, per_class=(0.5, 1.0, None))
    """
    match absent:
        case "left_out":
            mean = values.nanmean()
        case "undefined":
            mean = values.mean()
        case "zero":
            mean = values.nan_to_num(0.0).mean()
    return MetricValue(mean.item(), tuple(None if value != value else value for value in values.tolist()))


def iou(counts: Tensor, absent: Absent) -> MetricValue:
    """Intersection over union; undefined for a class in neither truth nor prediction."""
    hits = counts.diagonal()
    return mean_over_classes(hits / (counts.sum(0) + counts.sum(1) - hits), absent)


@METRICS.register("accuracy")
def accuracy(*, counts: Tensor) -> MetricValue:
    """Share of labelled pixels predicted correctly."""
    return MetricValue((counts.diagonal().sum() / counts.sum()).item())


@METRICS.register("precision")
def precision(*, counts: Tensor, absent: Absent) -> MetricValue:
    """Share of pixels predicted as a class that belong to it; undefined for a class that is never predicted."""
    return mean_over_classes(counts.diagonal() / counts.sum(0), absent)


@METRICS.register("recall")
def recall(*, counts: Tensor, absent: Absent) -> MetricValue:
    """Share of a class's pixels predicted as that class; undefined without any. Its mean is the mean accuracy."""
    return mean_over_classes(counts.diagonal() / counts.sum(1), absent)


@METRICS.register("f1")
def f1(*, counts: Tensor, absent: Absent) -> MetricValue:
    """Dice: the harmonic mean of precision and recall; undefined for a class in neither truth nor prediction."""
    return mean_over_classes(2 * counts.diagonal() / (counts.sum(0) + counts.sum(1)), absent)


def metric_values(names: Sequence[str], counts: Tensor, absent: Absent) -> dict[str, MetricValue]:
    """Metrics of confusion counts, by name.

    Args:
        names: Names in `METRICS`.
        counts: int64 (C, C), rows are the truth.
        absent: See `mean_over_classes`.
    """
    counts = counts.to("cpu", torch.float64)
    return {name: METRICS.build({"name": name}, "evaluation.metrics", counts=counts, absent=absent) for name in names}
