"""IoU and further metrics, registered in `METRICS`.

A metric is a function of the confusion counts or, if it needs more than these, an `ImageMetric`, which sees every
scored image (`dmtc.evaluation.image_metrics`). Naming one in `evaluation.metrics` adds it to metrics.jsonl, loggers,
results.json, tables and reports.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry, unknown

Absent = Literal["left_out", "undefined", "zero"]
"""How a class without a value affects the mean over classes; see `mean_over_classes`."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """The value of a metric; in [0, 1] for all built-in metrics.

    Attributes:
        overall: One number; NaN if undefined.
        per_class: One number per class, None where undefined; None for a metric without classes.
        note: A few words about its options, shown beside it, such as "of crack"; empty if there is nothing to say.
    """

    overall: float
    per_class: tuple[float | None, ...] | None = None
    note: str = field(default="", repr=False)


class ImageMetric(ABC):
    """A metric that needs more than the confusion counts; it is built for every pass over the images.

    Its sums are added up over the processes that share the images. Sums of integers make the value independent of
    how the images are shared.

    Examples:
        The share of images without a single wrong pixel:

        >>> class Flawless(ImageMetric):
        ...     def __init__(self):
        ...         self.sums = torch.zeros(2, dtype=torch.int64)
        ...
        ...     def update(self, prediction, truth):
        ...         right = ((prediction == truth) | (truth == 255)).flatten(1).all(dim=1)
        ...         self.sums += torch.tensor([right.sum(), len(right)])
        ...
        ...     def state(self):
        ...         return self.sums
        ...
        ...     def value(self, state):
        ...         return MetricValue((state[0] / state[1]).item())
        >>> metric, truth = Flawless(), torch.tensor([[[0, 1]], [[1, 255]]])
        >>> metric.update(torch.tensor([[[0, 0]], [[1, 0]]]), truth)
        >>> metric.value(metric.state())
        MetricValue(overall=0.5, per_class=None)
    """

    @abstractmethod
    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add images.

        Args:
            prediction: int64 (B, H, W) on any device, below C.
            truth: int64 (B, H, W), below C or `IGNORE_INDEX`.
        """
        ...

    @abstractmethod
    def state(self) -> Tensor:
        """The sums so far, on the CPU, always of the same shape and dtype."""
        ...

    @abstractmethod
    def value(self, state: Tensor) -> MetricValue:
        """The value for the sum of the states of all processes."""
        ...


_ALWAYS = ("miou", "iou")

METRICS: Registry[MetricValue | ImageMetric] = Registry(
    "metric", runtime=["counts", "absent", "num_classes", "classes"]
)
"""The known metrics, as in `evaluation.metrics`: functions that take `counts`, float64 (C, C) with the truth in rows,
and subclasses of `ImageMetric`. Both may take `absent: Absent`, `num_classes: int`, `classes: Sequence[str]` and
options, which are set in `evaluation.metric_options`."""

Options = Mapping[str, Mapping[str, Any]]
"""Options of metrics by the name of the metric."""


def metric_faults(names: Any, options: Any, where: str) -> list[str]:
    """All faults of a list of metrics and of the options of metrics, one sentence each.

    Args:
        names: As in `evaluation.metrics`.
        options: As in `evaluation.metric_options`.
        where: The place of both in the config, such as "evaluation".
    """
    here = f"{where}.metrics"
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return [f"{here} should be a list of metrics, such as [accuracy], but is {names!r}"]
    if not isinstance(options, Mapping) or not all(isinstance(of, Mapping) for of in options.values()):
        return [f"{where}.metric_options should be options by the name of a metric, but is {options!r}"]
    known = METRICS.names()
    faults = [f"{here}: unknown metric {unknown(name, known)}" for name in names if name not in known]
    faults += [
        f"{where}.metric_options: unknown metric {unknown(str(name), known)}" for name in options if name not in known
    ]
    for name in dict.fromkeys([*names, *options]):
        if name in known:
            faults += METRICS.faults({"name": name, **options.get(name, {})}, f"{where}.metric_options.{name}")
    faults += [f"{here}: {name!r} is always scored; name further metrics" for name in _ALWAYS if name in names]
    return faults + ([f"{here} names a metric twice: {list(names)}"] if len({*names}) < len(names) else [])


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


@METRICS.register("dice")
@METRICS.register("f1")
def f1(*, counts: Tensor, absent: Absent) -> MetricValue:
    """Dice: the harmonic mean of precision and recall; undefined for a class in neither truth nor prediction."""
    return mean_over_classes(2 * counts.diagonal() / (counts.sum(0) + counts.sum(1)), absent)


@METRICS.register("binary_iou")
def binary_iou(*, counts: Tensor, absent: Absent, classes: Sequence[str], foreground: str | int | None) -> MetricValue:
    """IoU of one class against all others together, which is how tasks of two classes are usually scored.

    Args:
        counts: float64 (C, C), rows are the truth.
        absent: See `mean_over_classes`.
        classes: The names of the classes.
        foreground: The class, by name or number; None takes the second of two.

    Raises:
        ConfigError: There is no such class, or more than two and none is named.
    """
    where, names = "evaluation.metric_options.binary_iou.foreground", [str(name) for name in classes]
    if foreground is None:
        if len(names) != 2:
            raise ConfigError(f"{where} should name one of the {len(names)} classes: {', '.join(names)}")
        foreground = 1
    if isinstance(foreground, str):
        if foreground not in names:
            raise ConfigError(f"{where}: unknown class {unknown(foreground, names)}")
        foreground = names.index(foreground)
    if not 0 <= foreground < len(names):
        raise ConfigError(f"{where} should be a class from 0 to {len(names) - 1}, but is {foreground}")
    hits = counts.diagonal()[foreground]
    value = hits / (counts[foreground].sum() + counts[:, foreground].sum() - hits)
    return MetricValue(mean_over_classes(value[None], absent).overall, note=f"of {names[foreground]}")


def image_metrics(
    names: Sequence[str], options: Options, absent: Absent, classes: Sequence[str]
) -> dict[str, ImageMetric]:
    """The metrics among `names` that see every image, by name, for one pass.

    Args:
        names: Names in `METRICS`.
        options: Options of metrics, by name.
        absent: See `mean_over_classes`.
        classes: The names of the classes.
    """
    given = {"absent": absent, "num_classes": len(classes), "classes": classes}
    made = {name: _build(name, options, **given) for name in names if inspect.isclass(METRICS.builder(name))}
    return {name: metric for name, metric in made.items() if isinstance(metric, ImageMetric)}


def metric_values(
    names: Sequence[str],
    counts: Tensor,
    absent: Absent,
    options: Options | None = None,
    classes: Sequence[str] | None = None,
    of_images: Mapping[str, MetricValue] | None = None,
) -> dict[str, MetricValue]:
    """The values of metrics, by name.

    Args:
        names: Names in `METRICS`.
        counts: int64 (C, C), rows are the truth.
        absent: See `mean_over_classes`.
        options: Options of metrics, by name.
        classes: The names of the classes; by default their numbers.
        of_images: The values of those that see every image.
    """
    counts, known = counts.to("cpu", torch.float64), of_images or {}
    classes = tuple(map(str, range(len(counts)))) if classes is None else classes
    values = {}
    for name in names:
        value = known.get(name) or _build(
            name, options or {}, counts=counts, absent=absent, num_classes=len(counts), classes=classes
        )
        if not isinstance(value, MetricValue):
            raise ConfigError(f"metric {name!r} is not a function of the counts, but {type(value).__name__}")
        values[name] = value
    return values


def _build(name: str, options: Options, **runtime: Any) -> MetricValue | ImageMetric:
    spec = {"name": name, **options.get(name, {})}
    return METRICS.build(spec, f"evaluation.metric_options.{name}", **runtime)
