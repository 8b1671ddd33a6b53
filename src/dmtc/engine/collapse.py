"""Rounds that make a network worse than it was: told at once and loudly, as nothing else would stop or show them."""

import math
from collections.abc import Sequence

from dmtc.evaluation.quality import PseudoLabelScores

_FAR_BELOW = 2 / 3
"""Share of the mIoU before that a round may fall to unremarked; an ordinary bad round loses a few points."""


def lost_classes(
    pseudo: PseudoLabelScores, before: PseudoLabelScores | None, classes: Sequence[str], teacher: str
) -> list[str]:
    """One line if a class without any pseudo-labelled pixel had some in the round before, else nothing.

    Args:
        pseudo: Of this phase, as by `score_pseudo_labels`.
        before: Of the phase that the network starts from; None if it had no pseudo-labels.
        classes: Their names.
        teacher: The phase that labelled.
    """
    if before is None:
        return []
    pairs = zip(classes, before.realized, pseudo.realized, strict=True)
    lost = [name for name, had, has in pairs if had and not has]
    return [f"{teacher} gives no pixel any more to {', '.join(lost)}"] if lost else []


def fallen_score(miou: float, before: float | None) -> list[str]:
    """One line if a round's mIoU is far below the mIoU that the network had before, else nothing."""
    if before is None or math.isnan(before) or miou >= _FAR_BELOW * before:
        return []
    return [
        f"mIoU fell from {before:.3f} to {miou:.3f} in this round; look at the terms of loss that count in the "
        "rounds, and at label_ratios and learning_rate of schedule.rounds"
    ]
