"""Scores all networks and their ensemble with one protocol, in a single pass over the validation images."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.registry import argument_faults, raise_faults
from dmtc.core.types import Batch
from dmtc.evaluation.metrics import Absent, ImageMetric, Options, image_metrics, metric_faults, metric_values
from dmtc.evaluation.predictors import Predictor, averaged, most_probable, with_views
from dmtc.evaluation.protocols import PROTOCOLS, Protocol
from dmtc.evaluation.scores import Scores, confusion_counts, scores_of
from dmtc.machine.processes import ALONE, Processes

_OF_EVERY_PROTOCOL = ("flip", "scales", "absent", "metrics", "metric_options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The `evaluation` part of a config.

    Attributes:
        protocol: Which pixels of an image are scored, and how the network predicts them.
        flip: Average probabilities with those of the mirror image.
        scales: Average probabilities over the image resized by these factors.
        absent: How a class in neither truth nor prediction affects the mean; see `scores_of`.
        metrics: Names of metrics besides IoU; see `METRICS`.
        metric_options: Options of metrics, by name, of those that are scored or might be.

    Raises:
        ConfigError: There is no scale, or one is not positive and finite.
    """

    protocol: Protocol
    flip: bool
    scales: list[float]
    absent: Absent
    metrics: Sequence[str] = ()
    metric_options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < float("inf") for scale in self.scales):
            raise ConfigError(f"evaluation.scales should be factors above 0, but is {self.scales}")

    def image_metrics(self, classes: Sequence[str]) -> dict[str, ImageMetric]:
        """The metrics that see every image, by name, for one pass over images with these classes."""
        return image_metrics(self.metrics, self.metric_options, self.absent, classes)

    def check_metrics(self, classes: Sequence[str]) -> None:
        """Check the metrics against the classes, before anything is scored.

        Raises:
            ConfigError: The options of a metric do not fit.
        """
        seen = self.image_metrics(classes)
        counted = [name for name in self.metrics if name not in seen]
        metric_values(counted, torch.eye(len(classes)), self.absent, self.metric_options, classes)

    def of_frames(self, network: Predictor) -> Predictor:
        """A predictor of frames that runs the network as the protocol says, averaged over all views."""
        return with_views(self.protocol.wrap(network), self.flip, self.scales)

    def of_pictures(self, network: Predictor) -> Predictor:
        """A predictor of whole images at their own size that runs the network as in scoring."""
        return self.protocol.whole(self.of_frames(network))


def evaluation_faults(spec: Mapping[str, Any], where: str) -> list[str]:
    """All faults of a specification, one sentence each.

    Args:
        spec: As in `conf/evaluation`: `name` and options of the protocol, and the options all protocols share.
        where: Its place in the config, for the message.
    """
    protocol, others = _halves(spec)
    faults = PROTOCOLS.faults(protocol, where) + argument_faults(
        Evaluation, _without_metrics(others), where, runtime=["protocol"]
    )
    faults += metric_faults(spec.get("metrics", ()), spec.get("metric_options", {}), where)
    if not faults:
        try:
            build_evaluation(spec, where)
        except ConfigError as error:
            faults.append(str(error))
    return faults


def build_evaluation(spec: Mapping[str, Any], where: str) -> Evaluation:
    """Build an evaluation from its specification.

    Raises:
        ConfigError: All faults in one message.

    Examples:
        >>> spec = {"name": "sliding", "crop": [801, 801], "stride": 2 / 3, "ragged": False}
        >>> spec |= {"flip": False, "scales": [1.0], "absent": "left_out", "metrics": ["accuracy"]}
        >>> build_evaluation(spec, "evaluation").protocol.crop
        [801, 801]
    """
    if not spec:
        raise ConfigError(f"{where}: no protocol chosen; choose one, such as {where}=original")
    protocol, others = _halves(spec)
    raise_faults(argument_faults(Evaluation, _without_metrics(others), where, runtime=["protocol"]))
    raise_faults(metric_faults(others.get("metrics", ()), others.get("metric_options", {}), where))
    return Evaluation(protocol=PROTOCOLS.build(protocol, where), **others)


def title_of(name: str, options: Mapping[str, Any]) -> str:
    """A protocol and some of its options as a title for tables.

    Examples:
        >>> title_of("sliding", {"crop": [513, 513], "flip": True})
        'sliding crop=[513, 513] flip=true'
    """
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in options.items()}
    return " ".join([name, *(f"{key}={value}" for key, value in values.items())])


def evaluate(
    networks: Mapping[str, Predictor],
    batches: Iterable[Batch],
    num_classes: int,
    evaluation: Evaluation,
    processes: Processes = ALONE,
    with_ensemble: bool = True,
    classes: Sequence[str] | None = None,
) -> dict[str, Scores]:
    """Score networks on images with masks.

    Args:
        networks: Predictors by letter. Each runs once on every image, or once for every view and window.
        batches: This process's part of the images and masks, on the networks' device; one size per batch.
        num_classes: C.
        evaluation: The protocol and its options.
        processes: Processes whose counts are summed.
        with_ensemble: Whether several networks are also scored as an ensemble.
        classes: The names of the classes, for metrics that ask for them; by default their numbers.

    Returns:
        Scores of each network and, if there are several, of their mean probabilities as the last entry, "a+b".

    Raises:
        DataError: The protocol cannot handle one of the images.
    """
    predictors = {name: evaluation.of_frames(network) for name, network in networks.items()}
    names = list(predictors)
    ensemble = "+".join(names)
    if len(names) > 1 and with_ensemble:
        names.append(ensemble)
    classes = tuple(map(str, range(num_classes))) if classes is None else classes
    of_images = {name: evaluation.image_metrics(classes) for name in names}
    counts: dict[str, Tensor] = {}
    for batch in batches:
        image, truth = evaluation.protocol.frame(batch)
        logits = {name: predict(image) for name, predict in predictors.items()}
        if ensemble in names and len(logits) > 1:
            logits[ensemble] = averaged(logits.values())
        for name, of_one in logits.items():
            predicted = most_probable(of_one)
            more = confusion_counts(predicted, truth, num_classes)
            counts[name] = counts[name] + more if name in counts else more
            for metric in of_images[name].values():
                metric.update(predicted, truth)
    scores: dict[str, Scores] = {}
    for name in names:
        own = counts[name].cpu() if name in counts else torch.zeros(num_classes, num_classes, dtype=torch.int64)
        own = processes.all_reduce(own)
        values = {key: each.value(processes.all_reduce(each.state().clone())) for key, each in of_images[name].items()}
        scores[name] = scores_of(own, evaluation.absent, evaluation.metrics, evaluation.metric_options, classes, values)
    return scores


def _halves(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a specification into the protocol's own options and those all protocols share."""
    others = {key: value for key, value in spec.items() if key in _OF_EVERY_PROTOCOL}
    return {key: value for key, value in spec.items() if key not in others}, others


def _without_metrics(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose types say all that is to be checked; metrics and their options are held against the registry."""
    return {key: value for key, value in options.items() if key not in ("metrics", "metric_options")}
