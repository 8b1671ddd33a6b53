"""Validation images of a folder that names none: drawn from its images with masks."""

from collections.abc import Sequence

from dmtc.core.errors import DataError
from dmtc.core.randomness import seed_of


def draw_validation(masked: Sequence[str], all_masks: int, fraction: float, seed: int) -> tuple[set[str], str]:
    """Draw images to hold out.

    Args:
        masked: Ids of the training images with masks.
        all_masks: Masks of all parts, for the message.
        fraction: Share of them in (0, 1) to hold out; at least one is, and one is left.
        seed: Of the draw.

    Returns:
        Their ids, and a line for a person.

    Raises:
        DataError: There are fewer than two.
    """
    if len(masked) < 2:
        count = "only one image has" if len(masked) == 1 else "no image to train on has"
        kept = f" ({all_masks - len(masked)} masks are of other parts)" if all_masks > len(masked) else ""
        raise DataError(f"validation and training need one image with a mask each, but {count} a mask{kept}")
    # Each id draws for itself, so that a new image does not reshuffle the rest.
    ranked = sorted(masked, key=lambda id: seed_of("folder-val", seed, id))
    count = min(max(1, round(fraction * len(masked))), len(masked) - 1)
    note = (
        f"validation: {count} of the {len(masked)} images with masks, held out at random"
        f" (dataset.val_fraction={fraction}, dataset.val_seed={seed}) and never trained on"
    )
    return set(ranked[:count]), note
