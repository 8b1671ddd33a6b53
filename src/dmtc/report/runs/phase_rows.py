"""The phases of a run as plain rows, for tables and for data frames."""

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
