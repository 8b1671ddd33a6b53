"""Draws validation images from the images with masks, if none are specified."""

from collections.abc import Sequence

from dmtc.core.errors import DataError
from dmtc.core.randomness import seed_of


def draw_validation(masked: Sequence[str], all_masks: int, fraction: float, seed: int) -> tuple[set[str], str]:
    """Draw images to hold out for validation.

    Args:
        masked: Ids of the training images with masks.
        all_masks: Number of masks in all parts, for the message.
        fraction: Share in (0, 1) of `masked` to hold out; at least one is held out and at least one is left.
        seed: Seed of the draw.

    Returns:
        The drawn ids, and a one-line note for the user.

    Raises:
        DataError: There are fewer than two images with masks.
    """
    if len(masked) < 2:
        count = "only one image has" if len(masked) == 1 else "no image to train on has"
        kept = f" ({all_masks - len(masked)} masks are of other parts)" if all_masks > len(masked) else ""
        raise DataError(f"validation and training need one image with a mask each, but {count} a mask{kept}")
    # Each id has its own draw, so that a new image does not reshuffle the rest.
    ranked = sorted(masked, key=lambda id: seed_of("folder-val", seed, id))
    count = min(max(1, round(fraction * len(masked))), len(masked) - 1)
    note = (
        f"validation: {count} of the {len(masked)} images with masks, held out at random"
        f" (dataset.val_fraction={fraction}, dataset.val_seed={seed}) and never trained on"
    )
    return set(ranked[:count]), note
