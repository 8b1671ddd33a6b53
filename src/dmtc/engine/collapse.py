"""Warnings about rounds that make a network much worse, because nothing else would stop or reveal them."""

import math
from collections.abc import Sequence

from dmtc.evaluation.quality import PseudoLabelScores

_FAR_BELOW = 2 / 3
"""A round is reported if its mIoU drops below this share of the previous one; a normal bad round loses a few points."""


def lost_classes(
    pseudo: PseudoLabelScores, before: PseudoLabelScores | None, classes: Sequence[str], teacher: str
) -> list[str]:
    """One line if any class lost all its pseudo-labelled pixels since the previous round, else an empty list.

    Args:
        pseudo: Scores of this phase, from `score_pseudo_labels`.
        before: Scores of the phase the network starts from; None if it had no pseudo-labels.
        classes: Class names.
        teacher: The phase whose network made the pseudo-labels.
    """
    if before is None:
        return []
    pairs = zip(classes, before.realized, pseudo.realized, strict=True)
    lost = [name for name, had, has in pairs if had and not has]
    return [f"{teacher} no longer labels any pixel as {', '.join(lost)}"] if lost else []


def fallen_score(miou: float, before: float | None) -> list[str]:
    """One line if a round's mIoU is far below the network's previous mIoU, else an empty list."""
    if before is None or math.isnan(before) or miou >= _FAR_BELOW * before:
        return []
    return [
        f"mIoU fell from {100 * before:.1f} to {100 * miou:.1f} in this round; check the loss terms used in the rounds,"
        " and label_ratios and learning_rate of schedule.rounds"
    ]
