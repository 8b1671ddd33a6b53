"""Data sets as their publishers pack them: where the pieces lie, and what to say when one is missing."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dmtc.data.dataset import few
from dmtc.errors import DataError


def find_piece(name: str, root: Path, piece: str, parents: Sequence[str], remedy: str) -> Path:
    """Find a folder or file of a data set, whatever an archive tool has put around it.

    Args:
        name: The data set's name, for messages.
        root: The folder that was given.
        piece: A path inside the data set.
        parents: Folders inside `root`, as glob patterns, that may hold the piece where `root` itself does not.
        remedy: What to do when it is missing, for the message.

    Raises:
        DataError: The piece is in none of these places, or in two of them.
    """
    if (root / piece).exists():
        return root / piece
    found = [path for parent in parents for path in sorted(root.glob(f"{parent}/{piece}"))]
    if not found:
        raise DataError(f"{name}: {root / piece} is missing; {remedy}")
    if len(found) > 1:
        raise DataError(
            f"{name}: {found[0]} and {found[1]} are both there; set dataset.root to the folder that is meant"
        )
    return found[0]


def require_masks(name: str, val: Collection[str], masks: Mapping[str, Path], folder: Path, remedy: str) -> None:
    """Make sure that every validation image can be scored.

    Raises:
        DataError: There are no validation images, or some have no mask.
    """
    if not val:
        raise DataError(f"{name}: there are no validation images; {remedy}")
    missing = set(val) - masks.keys()
    if missing:
        raise DataError(
            f"{name}: {len(missing)} of {len(val)} validation images have no mask in {folder}: {few(missing)}; {remedy}"
        )
