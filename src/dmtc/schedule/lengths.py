"""Phase lengths that depend on the number of images: converts `schedule.*.root_steps` to steps."""

import math
from collections.abc import Mapping
from typing import Any

from dmtc.schedule.settings import STAGES

_TO_TENS = 10


def steps_by_count(root_steps: float, images: int) -> int:
    """Steps of a phase: `root_steps` times the square root of the number of images, rounded to tens, at least 10.

    A hundred times as many images thus train ten times as long, so each is seen less often, as in published recipes
    (VOC: 300 epochs of 100 labelled images, 85 of 1,464).
    """
    return max(_TO_TENS, round(root_steps * math.sqrt(images) / _TO_TENS) * _TO_TENS)


def with_lengths(schedule: Mapping[str, Any], labelled: int, unlabelled: int) -> tuple[dict[str, Any], list[str]]:
    """Compute steps from `root_steps` where neither steps nor epochs are given.

    Args:
        schedule: The `schedule` part of a config, checked.
        labelled: Number of labelled images, for the start.
        unlabelled: Number of unlabelled images, for the other stages; if 0, they use the labelled ones.

    Returns:
        The schedule with `steps`, and one line for each stage whose length was computed.
    """
    filled, notes = dict(schedule), []
    others = ("unlabelled", unlabelled) if unlabelled else ("labelled", labelled)
    for stage in STAGES:
        kind, images = ("labelled", labelled) if stage == "start" else others
        settings = schedule[stage]
        factor = settings.get("root_steps")
        if factor is None or settings["steps"] is not None or settings["epochs"] is not None:
            continue
        steps = steps_by_count(factor, images)
        filled[stage] = dict(settings) | {"steps": steps}
        notes.append(f"schedule.{stage}.steps={steps}, as {factor:g} x the square root of {images} {kind} images")
    return filled, notes
