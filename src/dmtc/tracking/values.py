"""The values that all loggers show, under the same names: of a phase, of the ensemble after a round, of the run."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.evaluation.scores import Scores
from dmtc.tracking.phase_record import PhaseRecord


def phase_values(record: PhaseRecord, classes: Sequence[str]) -> dict[str, float]:
    """The known numbers of a phase's record under flat names, `SECTION/NETWORK/NAME`.

    Args:
        record: As in `phases` of results.json.
        classes: Class names.

    Returns:
        Section `rounds` has one value per name, including `label_ratio` (requested) and `pseudo_coverage` (realized);
        sections `iou`, `precision`, `recall`, `threshold` and `realized` have one value per class.
    """
    network, pseudo = record.trainee, record.pseudo
    names = ("miou_last", "miou_best", "label_ratio", "seconds", "train_images_per_s", "label_images_per_s")
    values = {f"rounds/{network}/{name}": getattr(record, name) for name in (*names, "peak_memory_bytes")}
    values |= {f"rounds/{network}/{name}": value for name, value in record.metrics_last.items()}
    of_classes: dict[str, Sequence[float | None] | None] = {"iou": record.iou_last}
    if pseudo is not None:
        values |= {
            f"rounds/{network}/pseudo_{name}": getattr(pseudo, name) for name in ("coverage", "accuracy", "miou")
        }
        values[f"rounds/{network}/pseudo_calibration_error"] = (pseudo.calibration or {}).get("error")
        of_classes |= {"precision": pseudo.precision, "recall": pseudo.recall}
        of_classes |= {"threshold": pseudo.thresholds, "realized": pseudo.realized}
    for section, of_class in of_classes.items():
        values |= {f"{section}/{network}/{name}": of for name, of in zip(classes, of_class or (), strict=False)}
    return {name: value for name, value in values.items() if value is not None}


def ensemble_values(scores: Scores, classes: Sequence[str]) -> dict[str, float]:
    """The known scores of the ensemble after a round, under names like those of `phase_values`."""
    values: dict[str, float | None] = {"rounds/ensemble/miou_last": scores.miou}
    values |= {f"rounds/ensemble/{name}": value for name, value in scores.overall.items()}
    values |= {f"iou/ensemble/{name}": value for name, value in zip(classes, scores.iou, strict=True)}
    return {name: value for name, value in values.items() if value is not None}


def final_values(results: Mapping[str, Any]) -> dict[str, float]:
    """The mIoU of a finished run: the mean over its networks, each network, and the ensemble; of the test part as well.

    Args:
        results: As in results.json.

    Returns:
        mIoU in [0, 1] under names that begin with `final/`.

    Examples:
        >>> miou = {"a": {"last": 0.5}, "b": None, "ensemble": None, "mean_last": 0.5}
        >>> final_values({"miou": miou, "test": {"miou": {"a": 0.4, "b": None, "ensemble": None}}})
        {'final/miou': 0.5, 'final/miou_a': 0.5, 'final/test_miou': 0.4, 'final/test_miou_a': 0.4}
    """
    of = {name: value["last"] if isinstance(value, Mapping) else value for name, value in results["miou"].items()}
    on_test = (results.get("test") or {}).get("miou") or {}
    values: dict[str, float | None] = {"final/miou": of.pop("mean_last")}
    values |= {f"final/miou_{name}": value for name, value in of.items()}
    networks = [value for name, value in on_test.items() if name != "ensemble" and value is not None]
    values["final/test_miou"] = sum(networks) / len(networks) if networks else None
    values |= {f"final/test_miou_{name}": value for name, value in on_test.items()}
    return {name: value for name, value in values.items() if value is not None}
