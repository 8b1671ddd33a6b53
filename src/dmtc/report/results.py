"""Building results.json from the records of the phases."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.config.methods import method_title
from dmtc.core.version import __version__
from dmtc.engine.components import Components
from dmtc.engine.phase_log import best_of
from dmtc.evaluation import Scores
from dmtc.losses.weighing_terms import class_weights_of
from dmtc.tracking.phase_record import PhaseRecord


def gather_results(
    components: Components,
    records: list[PhaseRecord],
    final: Scores,
    environment: Mapping[str, Any],
    test: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of results.json.

    Args:
        components: The run's components.
        records: Records of all phases, in the plan's order.
        final: Scores on the validation images of the last networks' ensemble, or of the only network.
        environment: Versions and machine.
        test: From `gather_test`, if there is a test part.

    Returns:
        JSON-ready values; IoU and ratios in [0, 1], None for a class that never occurs.
    """
    config, split = components.config, components.split
    of = {network: [record for record in records if record.trainee == network] for network in components.networks}
    last = {network: of[network][-1] for network in components.networks}
    miou: dict[str, Any] = {"a": None, "b": None}
    miou |= {network: {"last": r.miou_last, "best": r.miou_best, **r.miou_of} for network, r in last.items()}
    miou["ensemble"] = final.miou if len(components.networks) > 1 else None
    miou["mean_last"] = sum(record.miou_last for record in last.values()) / len(last)
    weights = class_weights_of(components.terms, components.dataset.classes)
    return {
        "method": method_title(config),
        "dataset": components.dataset.name,
        "num_classes": components.dataset.num_classes,
        "split": {
            "name": split.name,
            "ratio": split.ratio,
            "labelled": len(split.labelled),
            "unlabelled": len(split.unlabelled),
            "sha256": split.sha256,
        },
        "seed": config["seed"],
        "evaluation": config["evaluation"],
        "miou": miou,
        "best_is_chosen_on": "the reported validation images",
        "monitor": {"metric": (monitor := components.run.monitor)}
        | {
            network: {"step": best["step"], "value": best[monitor]}
            for network, record in last.items()
            for best in [best_of(record.evaluations, monitor)]
        },
        "per_class_iou": {name: iou for name, iou in zip(components.dataset.classes, final.iou, strict=True)},
        "per_class_iou_of": "ensemble" if len(components.networks) > 1 else components.networks[0],
        "metrics": {
            name: {network: record.metrics_last[name] for network, record in last.items()}
            | ({"ensemble": value} if len(components.networks) > 1 else {})
            for name, value in final.overall.items()
        },
        **_notes(final),
        "per_class": _per_class(final, components.dataset.classes),
        **({"class_weights": weights} if weights else {}),
        "absent_classes": [
            name for name, iou in zip(components.dataset.classes, final.iou, strict=True) if iou is None
        ],
        **({} if test is None else {"test": dict(test)}),
        "baseline": {"a": None, "b": None} | {network: of[network][0].miou_last for network in components.networks},
        "phases": [record.to_json() for record in records],
        "warnings": [warning for record in records for warning in record.warnings],
        "seconds": sum(record.seconds for record in records),
        "cpu_seconds": sum(record.cpu_seconds for record in records),
        "device": str(components.device),
        "version": __version__,
        "commit": environment["commit"],
        "environment": dict(environment),
        "confusion": confusion_of(final),
    }


def gather_test(components: Components, scores: Mapping[str, Scores]) -> dict[str, Any]:
    """The part of results.json about the test part.

    Args:
        components: The run's components.
        scores: Scores of each network with its last weights, then of the ensemble if there are several networks.

    Returns:
        JSON-ready values; IoU in [0, 1], None for a class that never occurs and for missing networks.
    """
    networks = components.networks
    *_, final = scores.values()
    miou: dict[str, float | None] = {"a": None, "b": None}
    miou |= {network: scores[network].miou for network in networks}
    miou["ensemble"] = final.miou if len(networks) > 1 else None
    return {
        "images": len(components.dataset.test),
        "miou": miou,
        "per_class_iou": dict(zip(components.dataset.classes, final.iou, strict=True)),
        "metrics": {
            name: {
                network: of.overall[name] for network, of in zip([*networks, "ensemble"], scores.values(), strict=False)
            }
            for name in final.metrics
        },
        "per_class": _per_class(final, components.dataset.classes),
        "confusion": confusion_of(final),
    }


def confusion_of(scores: Scores) -> list[list[int]]:
    """Pixels by truth (rows) and prediction (columns), in the order of the classes."""
    return [list(row) for row in scores.confusion]


def _notes(scores: Scores) -> dict[str, dict[str, str]]:
    """What metrics say about their options, if any does."""
    notes = {name: value.note for name, value in scores.metrics.items() if value.note}
    return {"metric_notes": notes} if notes else {}


def _per_class(scores: Scores, classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """The other metrics that have a value for each class."""
    of = {name: value.per_class for name, value in scores.metrics.items() if value.per_class is not None}
    return {name: dict(zip(classes, values, strict=True)) for name, values in of.items()}


def mean_test(results: Mapping[str, Any]) -> float | None:
    """Mean over networks of the mIoU on the test part, like `mean_last` on the validation images; None without one."""
    miou = (results.get("test") or {}).get("miou") or {}
    of = [value for network, value in miou.items() if network != "ensemble" and value is not None]
    return sum(of) / len(of) if of else None
