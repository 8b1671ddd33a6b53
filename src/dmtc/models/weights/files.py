"""Files of weights: reading other people's safely, writing ours atomically."""

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dmtc.core.errors import DataError, WeightsError
from dmtc.core.files import open_regular, replacing, require_regular
from dmtc.core.markup import in_one_line

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})$")
"""Published names often end in the first digits of the file's SHA-256: resnet101-63fe2227, resnet101COCO-41f33a49."""

_NESTINGS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "ema", "teacher", "student")
"""Under which names trainers put the weights in a checkpoint that holds more; earlier ones win."""


_LOOKED_AT = 512
"""Bytes that tell what a file is."""

_OTHER_KINDS = {
    b"\x89HDF": "HDF5, as Keras writes; take a file for PyTorch",
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"7z\xbc\xaf": "compressed (7z); unpack it first",
    b"Rar!": "compressed (RAR); unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed (Zstandard); unpack it first",
    b"\x93NUMPY": "an array of NumPy; take a file for PyTorch",
    b"%PDF": "a PDF; download the weights again",
    b"\x89PNG": "a picture; download the weights again",
    b"\xff\xd8\xff": "a picture; download the weights again",
}

_UNSUPPORTED = re.compile(r"(?:GLOBAL|Unsupported global:(?: GLOBAL)?|class) ([\w.]+)")


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
    path = Path(path).expanduser()
    if not os.path.lexists(path):
        raise WeightsError(
            f"no file of weights at {path} (looked in {Path.cwd()}); model.weights.a=FILE and .b=FILE name another, "
            "null starts fresh; docs/experiments.md says where published ones are to be had"
        )
    try:
        with open_regular(path) as file:
            beginning = file.read(_LOOKED_AT)
    except DataError as error:
        raise WeightsError(f"{error}: name a file of weights") from None
    except OSError as error:
        raise WeightsError(f"cannot read weights from {path}: {error.strerror or error}") from None
    if other := not_weights(beginning):
        raise WeightsError(f"cannot read weights from {path}: it is {other}")
    promised = _HASH_IN_NAME.search(path.stem)
    if promised and not (actual := sha256_of(path)).startswith(promised[1]):
        raise WeightsError(
            f"{path} should have a SHA-256 that begins with {promised[1]}, as its name says, but has {actual[:8]}...:"
            " the file is damaged or another one; download it again, or rename it if it is meant to differ"
        )
    content = _content(path, is_safetensors(beginning))
    tensors = _tensors_in(content)
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name, only {_describe(content)}")
    return tensors


def not_weights(beginning: bytes) -> str | None:
    """What a file is, and what to do, if its first bytes are those of no file of weights."""
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not beginning:
        return "empty; download it again"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, which stands for the file; get the file itself (git lfs pull), or download it again"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return "a web page, as sites give in place of a file; download it again, by its own link or after signing in"
    if text.startswith((b"{", b"[")):
        return "text (JSON), such as a site's message or a list of files; the weights lie beside it, or elsewhere"
    for magic, kind in _OTHER_KINDS.items():
        if beginning.startswith(magic):
            return kind
    return None


def is_safetensors(beginning: bytes) -> bool:
    """Whether a file begins as `.safetensors` do: the length of its header, and the header, which is JSON."""
    return beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") < 1 << 30


def _content(path: Path, plain: bool) -> Any:
    """What a file holds, by its content and not by its name. Nothing in it is executed.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        if plain:
            require_regular(path)
            return dict(sorted(safetensors.torch.load_file(path).items()))  # their order in the file is by type
        # As an open file: by a name that ends in .safetensors torch would take it for such.
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals(_numbers_of_numpy()),
            open_regular(path) as file,
        ):
            warnings.simplefilter("ignore")  # torch wonders about pickles that others wrote; if it fails, we tell
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, by where an odd or damaged file leads its reader
        if isinstance(error, pickle.UnpicklingError) and (objects := _UNSUPPORTED.search(str(error))):
            raise WeightsError(
                f"{path} is not a plain file of tensors: it holds objects of a program ({objects[1]}), as a whole model"
                " does, or a checkpoint with settings. If you trust it, save its state dict alone by the program that"
                " wrote it (torch.save(model.state_dict(), FILE)), or as .safetensors"
            ) from None
        if "central directory" in str(error):
            reason = "it is cut off or damaged; download it again"
        else:
            # What torch says of a pickle that is none ends with advice to run whatever is in it.
            more = "" if isinstance(error, pickle.UnpicklingError) else f" ({_first_line(error)})"
            reason = f"neither torch.save nor safetensors has written it, or it is damaged{more}"
        raise WeightsError(f"cannot read weights from {path}: {reason}") from None


def _numbers_of_numpy() -> list[Any]:
    """What single numbers of NumPy are made of, as in checkpoints that hold a score; nothing of it runs code."""
    types = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    numbers = [np.dtype, np.ndarray, *types]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        multiarray = np._core.multiarray  # pyright: ignore[reportAttributeAccessIssue]  # the one of both names
        numbers += [(getattr(multiarray, name), f"{module}.{name}") for name in ("scalar", "_reconstruct")]
    return numbers


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open_regular(path) as file:
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
    return in_one_line((str(error).splitlines() or [type(error).__name__])[0])[:200]
