"""Weight files: safe reading of files from anywhere, atomic writing of our own."""

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
"""Published file names often end in the first digits of the SHA-256: resnet101-63fe2227, resnet101COCO-41f33a49."""

_NESTINGS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "ema", "teacher", "student")
"""Keys under which trainers store the weights in a checkpoint; earlier ones take precedence."""


_LOOKED_AT = 512
"""Number of leading bytes that identify a file's type."""

_OTHER_KINDS = {
    b"\x89HDF": "HDF5, as Keras writes; use a file for PyTorch",
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"7z\xbc\xaf": "compressed (7z); unpack it first",
    b"Rar!": "compressed (RAR); unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed (Zstandard); unpack it first",
    b"\x93NUMPY": "a NumPy array; use a file for PyTorch",
    b"%PDF": "a PDF; download the weights again",
    b"\x89PNG": "a picture; download the weights again",
    b"\xff\xd8\xff": "a picture; download the weights again",
}

_UNSUPPORTED = re.compile(r"(?:GLOBAL|Unsupported global:(?: GLOBAL)?|class) ([\w.]+)")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file to the CPU.

    Args:
        path: A `.safetensors` file, or one written by `torch.save` (`.pt`, `.pth`, `.bin`, ...), which is read without
            executing any code. The usual nestings of a checkpoint (`{"state_dict": ...}` and so on) are unwrapped.

    Returns:
        Tensors by name; anything else in the file is dropped.

    Raises:
        WeightsError: The file is missing or unreadable, contains code, contains no tensors, or does not match the hash
            in its name.

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
            "null starts fresh; docs/experiments.md says where to get published ones"
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
            " the file is damaged or another one; download it again, or rename it if the difference is intended"
        )
    content = _content(path, is_safetensors(beginning))
    tensors = _tensors_in(content)
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name, only {_describe(content)}")
    return tensors


def not_weights(beginning: bytes) -> str | None:
    """Describe a file, and what to do, if its first bytes show that it holds no weights; else None."""
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not beginning:
        return "empty; download it again"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer to the file; get the file itself (git lfs pull), or download it again"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return (
            "a web page that a site sent instead of the file; download it again, by its direct link or after signing in"
        )
    if text.startswith((b"{", b"[")):
        return "text (JSON), such as a site's message or a list of files; the weights are in another file"
    for magic, kind in _OTHER_KINDS.items():
        if beginning.startswith(magic):
            return kind
    return None


def is_safetensors(beginning: bytes) -> bool:
    """Whether a file begins like `.safetensors`: with the header's length, then the header in JSON."""
    return beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") < 1 << 30


def _content(path: Path, plain: bool) -> Any:
    """Load a file by its content, whatever its name, without executing any code.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        if plain:
            require_regular(path)
            return dict(sorted(safetensors.torch.load_file(path).items()))  # the file orders them by type
        # Pass an open file: given a name that ends in .safetensors, torch would expect that format.
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals(_numbers_of_numpy()),
            open_regular(path) as file,
        ):
            warnings.simplefilter("ignore")  # torch warns about foreign pickles; failures are reported below
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # odd or damaged files raise many kinds of exceptions
        if isinstance(error, pickle.UnpicklingError) and (objects := _UNSUPPORTED.search(str(error))):
            raise WeightsError(
                f"{path} is not a plain file of tensors: it holds a program's objects ({objects[1]}), like a whole"
                " model or a checkpoint with settings. If you trust it, save only its state dict with the program that"
                " wrote it (torch.save(model.state_dict(), FILE)), or as .safetensors"
            ) from None
        if "central directory" in str(error):
            reason = "it is cut off or damaged; download it again"
        else:
            # For an invalid pickle, torch's message ends with the advice to run whatever is in it.
            more = "" if isinstance(error, pickle.UnpicklingError) else f" ({_first_line(error)})"
            reason = f"it was not written by torch.save or safetensors, or it is damaged{more}"
        raise WeightsError(f"cannot read weights from {path}: {reason}") from None


def _numbers_of_numpy() -> list[Any]:
    """Types that make up NumPy scalars, as in checkpoints that hold a score; none of them runs code."""
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
    """Write a model's parameters and buffers, including its normalization, to a `.safetensors` file.

    The write is atomic and replaces an existing file.

    Args:
        model: Any module, on any device, compiled or not.
        path: The file to write; its folder is created if needed.
        metadata: Strings to store with the tensors.

    Returns:
        SHA-256 of the file, in hexadecimal.

    Raises:
        OSError: The file cannot be written.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mine.safetensors"
        >>> _ = save_weights(nn.Conv2d(3, 8, kernel_size=1), path)
        >>> {name: tuple(tensor.shape) for name, tensor in read_weights(path).items()}
        {'bias': (8,), 'weight': (8, 3, 1, 1)}
    """
    plain = getattr(model, "_orig_mod", model)  # torch.compile wraps the model
    return save_tensors(plain.state_dict(), path, metadata)


def save_tensors(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write tensors by name, like `save_weights`."""
    # The format needs contiguous CPU memory, unlike channels-last or GPU weights.
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with replacing(path, durable=True) as unfinished:
        try:
            safetensors.torch.save_file(tensors, unfinished, metadata={"format": "pt", **(metadata or {})})
        except SafetensorError as error:
            # safetensors reports a full disk only in its message; callers need the error number.
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
