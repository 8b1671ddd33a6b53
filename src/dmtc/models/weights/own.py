"""Loads weights written by this library: all tensors into the matching network, or an error."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dmtc.core.errors import WeightsError
from dmtc.models.base import SegmentationModel
from dmtc.models.weights.files import read_weights, sha256_of


def load_own_weights(model: SegmentationModel, path: Path, sha256: str | None, remedy: str) -> None:
    """Load a file written by `save_weights` into a network, in place.

    Args:
        model: A network built like the saved one.
        path: The file.
        sha256: The recorded hash in hexadecimal; None if there is none.
        remedy: What to do if the file is missing or damaged, for the message.

    Raises:
        WeightsError: The file is missing or does not match the hash, or a tensor is missing, unexpected, or of another
            shape or dtype.
    """
    if not path.is_file():
        raise WeightsError(f"there is no {path}; {remedy}")
    require_sha256(path, sha256, remedy)
    load_exactly(model, read_weights(path), str(path))


def require_sha256(path: Path, sha256: str | None, remedy: str) -> None:
    """Check a file against its recorded hash.

    Args:
        path: The file.
        sha256: The recorded hash; None accepts any file.
        remedy: What to do on a mismatch, for the message.

    Raises:
        WeightsError: The hash differs.
    """
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise WeightsError(
            f"{path} is damaged or another file than was written: its SHA-256 begins with {found[:8]} instead of"
            f" {sha256[:8]}; {remedy}"
        )


def load_exactly(model: SegmentationModel, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load every tensor of a model.

    Args:
        model: The network.
        tensors: Tensors by name.
        where: Source of the tensors, for messages.

    Raises:
        WeightsError: A tensor is missing, unexpected, or of another shape or dtype.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ tensors.keys())
    shared = sorted(own.keys() & tensors.keys())
    wrong += [n for n in shared if own[n].shape != tensors[n].shape or own[n].dtype != tensors[n].dtype]
    if wrong:
        raise WeightsError(
            f"{where}: {len(wrong)} tensors are missing, left over or of another shape or type, such as {wrong[0]};"
            " the file is damaged, or made by another version of dmtc or of its backbone's library"
        )
    model.load_state_dict(dict(tensors))
