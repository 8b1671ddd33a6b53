"""Files of weights: reading other people's safely, writing ours atomically."""

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dmtc.errors import WeightsError
from dmtc.files import replacing

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})$")
"""Published names often end in the first digits of the file's SHA-256: resnet101-63fe2227, resnet101COCO-41f33a49."""

_NESTINGS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "ema", "teacher", "student")
"""Under which names trainers put the weights in a checkpoint that holds more; earlier ones win."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file, on the CPU.

    Args:
        path: A `.safetensors` file, or one by `torch.save` (`.pt`, `.pth`, `.bin`, ...), of which nothing is executed.
            The usual nestings of a checkpoint (`{"state_dict": ...}` and so on) are opened.

    Returns:
        Tensors by name; anything else in the file is left out.

    Raises:
        WeightsError: The file is missing, unreadable, holds code, holds no tensors, or is not the one that the hash in
            its name promises.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "checkpoint.pth"
        >>> torch.save({"epoch": 3, "state_dict": {"module.weight": torch.zeros(2)}}, path)
        >>> read_weights(path)
        {'module.weight': tensor([0., 0.])}
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"no file of weights at {path} (looked in {Path.cwd()}); model.weights.a=FILE and .b=FILE name another, "
            "null starts fresh; docs/experiments.md says where published ones are to be had"
        )
    promised = _HASH_IN_NAME.search(path.stem)
    if promised and not (actual := sha256_of(path)).startswith(promised[1]):
        raise WeightsError(
            f"{path} should have a SHA-256 that begins with {promised[1]}, as its name says, but has {actual[:8]}...:"
            " the file is damaged or another one; download it again, or rename it if it is meant to differ"
        )
    try:
        if path.suffix == ".safetensors":
            content = dict(sorted(safetensors.torch.load_file(path).items()))  # their order in the file is by type
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch wonders about pickles that others wrote; if it fails, we tell
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a plain file of tensors ({_first_line(error)}); "
            "save its state dict alone, with torch.save or as .safetensors"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        raise WeightsError(f"cannot read weights from {path}: {_first_line(error)}") from error
    tensors = _tensors_in(content)
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name, only {_describe(content)}")
    return tensors


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write a model's parameters and buffers (its normalization among them) to a `.safetensors` file.

    The file appears under its name only when it is whole, and replaces one that is there.

    Args:
        model: Any module, on any device, compiled or not.
        path: Where to; the folder is made if need be.
        metadata: Strings to store beside the tensors.

    Returns:
        SHA-256 of the file, in hexadecimal.

    Raises:
        OSError: It cannot be written.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mine.safetensors"
        >>> _ = save_weights(nn.Conv2d(3, 8, kernel_size=1), path)
        >>> {name: tuple(tensor.shape) for name, tensor in read_weights(path).items()}
        {'bias': (8,), 'weight': (8, 3, 1, 1)}
    """
    plain = getattr(model, "_orig_mod", model)  # torch.compile puts a wrapper around the model
    return save_tensors(plain.state_dict(), path, metadata)


def save_tensors(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> str:
    """As `save_weights`, of tensors by name."""
    # The format wants plain memory, which neither channels-last weights nor ones on a GPU have.
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with replacing(path, durable=True) as unfinished:
        try:
            safetensors.torch.save_file(tensors, unfinished, metadata={"format": "pt", **(metadata or {})})
        except SafetensorError as error:
            # It tells a full disk by a sentence of its own; others look for the number.
            if number := re.search(r"\(os error (\d+)\)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
            raise
        return sha256_of(unfinished)


def _tensors_in(content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        nested = [content[name] for name in _NESTINGS if isinstance(content.get(name), Mapping)]
        if not nested:
            return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        content = nested[0]
    return {}


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return ", ".join(map(repr, list(content)[:5])) or "an empty mapping"
    return f"a {type(content).__name__}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
