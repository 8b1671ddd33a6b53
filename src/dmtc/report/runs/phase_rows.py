"""The phases of a run as plain rows, for tables and for data frames."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.report.runs.run_data import RunFacts


def phase_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """One row per phase of the plan, all with the same keys; None where the phase is not done or has no such value.

    mIoU, metrics, coverage and accuracy are in [0, 1].
    """
    metrics = facts.config["evaluation"]["metrics"]
    rows = []
    for phase in facts.plan:
        record = facts.records.get(phase.name)
        pseudo = record.pseudo if record else None
        rows.append(
            {
                "phase": phase.name,
                "network": phase.trainee,
                "teacher": phase.taught_by,
                "label_ratio": phase.label_ratio,
                "steps": phase.steps,
                "miou": record.miou_last if record else None,
                "miou_best": record.miou_best if record else None,
                **{name: record.metrics_last[name] if record else None for name in metrics},
                "pseudo_coverage": pseudo.coverage if pseudo else None,
                "pseudo_miou": pseudo.miou if pseudo else None,
                "images_per_s": record.train_images_per_s if record else None,
                "seconds": record.seconds if record else None,
                "peak_memory_bytes": record.peak_memory_bytes if record else None,
            }
        )
    return rows


def phase_table(facts: RunFacts) -> tuple[list[str], list[list[str]]]:
    """The rows as text, with a header; scores in percent."""
    metrics = facts.config["evaluation"]["metrics"]
    header = [
        "phase",
        "teacher",
        "label ratio",
        "steps",
        "mIoU",
        "best",
        *metrics,
        "images/s",
        "minutes",
        "peak GB",
    ]
    rows = [_phase_cells(row, metrics) for row in phase_rows(facts)]
    return header, rows


def _phase_cells(row: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    ratio = "" if row["label_ratio"] is None else f"{row['label_ratio']:.0%}"
    done = [""] * (5 + len(metrics))
    if row["seconds"] is not None:
        peak = row["peak_memory_bytes"]
        done = [
            *(f"{100 * row[key]:.1f}" for key in ("miou", "miou_best", *metrics)),
            f"{row['images_per_s']:.1f}",
            f"{row['seconds'] / 60:.1f}",
            f"{peak / 2**30:.1f}" if peak else "",
        ]
    return [row["phase"], row["teacher"] or "", ratio, str(row["steps"]), *done]
