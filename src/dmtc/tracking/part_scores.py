"""Scores on the validation images beside those on the test images, for reports and loggers."""

from collections.abc import Mapping
from typing import Any

PartScore = tuple[str, str, float | None, float | None]
"""A score, whose it is, and its value in [0, 1] on the validation images and on the test images."""


def part_scores(results: Mapping[str, Any]) -> list[PartScore]:
    """All scores that a run has on both parts.

    Args:
        results: As in results.json.

    Returns:
        mIoU and every further metric of each network and of the ensemble, then the IoU of each class; nothing without
        a test part.
    """
    test = results.get("test")
    if not test:
        return []
    rows: list[PartScore] = []
    for network, on_test in test["miou"].items():
        if on_test is not None:
            of = results["miou"][network]
            rows.append(("mIoU", network, of["last"] if isinstance(of, Mapping) else of, on_test))
    for name, values in test.get("metrics", {}).items():
        before = results.get("metrics", {}).get(name, {})
        rows += [(name, network, before.get(network), on_test) for network, on_test in values.items()]
    whose = str(results.get("per_class_iou_of"))
    rows += [
        (f"IoU of {name}", whose, results["per_class_iou"].get(name), on_test)
        for name, on_test in test["per_class_iou"].items()
    ]
    return rows
