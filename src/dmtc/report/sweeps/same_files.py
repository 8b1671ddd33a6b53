"""Whether runs have learned from, and were scored on, the same files, wherever these lie."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from dmtc.report.sweeps.finding import FILES_OF_LABELLED, FILES_OF_VALIDATION, RunRecord

__all__ = ["FILES_OF_LABELLED", "with_known_files"]


def with_known_files(runs: Sequence[RunRecord], remarks: list[str]) -> list[RunRecord]:
    """Runs from before files were recorded are taken to have had those of the others, where these all had the same.

    Args:
        runs: Finished ones.
        remarks: To which is added what was taken for granted.
    """
    for key in (FILES_OF_VALIDATION, FILES_OF_LABELLED):
        known: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for run in runs:
            if key in run.settings:
                known[_place(run, key)].add(run.settings[key])
        filled, guessed = [], []
        for run in runs:
            found = known[_place(run, key)]
            if key not in run.settings and len(found) == 1:
                guessed.append(run.name)
                run = dataclasses.replace(run, settings=run.settings | {key: next(iter(found))})
            filled.append(run)
        if guessed and key == FILES_OF_VALIDATION:
            names = ", ".join(guessed[:3]) + (f" and {len(guessed) - 3} more" if len(guessed) > 3 else "")
            remarks.append(f"{names}: from before files were recorded, taken for runs on the same images as the others")
        runs = filled
    return list(runs)


def _place(run: RunRecord, key: str) -> tuple[str, ...]:
    """What tells of which files a run should have: the data set, and of labelled images the split."""
    split = str(run.results["split"].get("sha256", "")) if key == FILES_OF_LABELLED else ""
    return str(run.results["dataset"]), split
