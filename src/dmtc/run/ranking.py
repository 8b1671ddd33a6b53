"""Rankings of the unlabelled images in a run folder, and the images that each phase learns from."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.core.errors import DataError
from dmtc.pseudo.reliability import by_reliability
from dmtc.run.folder import RunFolder
from dmtc.run.stored import digest
from dmtc.schedule import Phase


def write_ranking(folder: RunFolder, phase: str, weights: Sequence[str], reliability: Mapping[str, float]) -> None:
    """Write how reliable the labels of each image are.

    Args:
        folder: The run's folder.
        phase: The phase whose kept weights agree so well.
        weights: Their SHA-256, in the order of training.
        reliability: In [0, 1], by id.
    """
    content = {"weights": list(weights), "reliability": dict(sorted(reliability.items()))}
    folder.write_ranking(phase, content | {"sha256": digest(content)})


def read_ranking(folder: RunFolder, phase: str) -> dict[str, Any] | None:
    """The ranking by a phase: `weights`, `reliability`, `sha256`; None if there is none yet.

    Raises:
        DataError: It is damaged, or was changed after it was written.
    """
    found = folder.read_ranking(phase)
    if found is None:
        return None
    content = {key: value for key, value in found.items() if key != "sha256"}
    if found.get("sha256") != digest(content) or not isinstance(content.get("reliability"), dict):
        raise DataError(f"{folder.path}: the ranking by phase {phase} is damaged: delete its file, and resume")
    return found


def ranking_sha256(folder: RunFolder, phase: str) -> str | None:
    """Fingerprint of the ranking by a phase; None if there is none yet."""
    ranking = read_ranking(folder, phase)
    return None if ranking is None else ranking["sha256"]


def images_of(folder: RunFolder, phase: Phase, unlabelled: Sequence[str]) -> Sequence[str]:
    """The unlabelled images that a phase learns from, in the order of the split.

    Args:
        folder: The run's folder.
        phase: The phase.
        unlabelled: All unlabelled images of the split.

    Raises:
        DataError: The ranking that chooses them is missing or damaged.
    """
    if phase.ranked_by is None:
        return unlabelled
    ranking = read_ranking(folder, phase.ranked_by)
    if ranking is None:
        raise DataError(
            f"{folder.path}: phase {phase.ranked_by} has not ranked the images yet; resume with:"
            f" {folder.resume_command}"
        )
    order = by_reliability(ranking["reliability"])
    chosen = set(order[: phase.share_of(len(order))])
    return tuple(id for id in unlabelled if id in chosen)
