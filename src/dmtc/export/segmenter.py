"""Saves, loads and runs networks with their classes and colors, in the layout of the Hugging Face Hub."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dmtc.core.errors import ConfigError, DataError, UserError, WeightsError
from dmtc.core.files import read_regular, write_atomically, write_json
from dmtc.core.types import UInt8Array
from dmtc.data.task import Task
from dmtc.export.card import model_card
from dmtc.export.description import FORMAT_VERSION, as_strings
from dmtc.models import SegmentationModel, build_model, read_weights
from dmtc.models.weights.files import save_tensors
from dmtc.models.weights.own import load_exactly, require_sha256
from dmtc.prediction import PredictsArrays

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
HASHES = "sha256"
"""Key in `config.json` for the SHA-256 of the other files, by name."""


class Segmenter(PredictsArrays):
    """Networks that work without their run. They predict like any `PredictsArrays`.

    Args:
        models: The networks by letter; they are put into evaluation mode.
        description: From `dmtc.export.description.describe`; the content of `config.json`.

    Examples:
        >>> import dmtc
        >>> import numpy as np
        >>> from dmtc.export import ExportOptions, export_run
        >>> _ = export_run(dmtc.Run.load("outputs/first"), "safetensors", Path("exported"), ExportOptions())
        >>> segmenter = dmtc.Segmenter.from_pretrained("exported")
        >>> mask = segmenter.predict(np.zeros((40, 60, 3), np.uint8))
        >>> mask.shape, segmenter.colored(mask).shape
        ((40, 60), (40, 60, 3))
    """

    def __init__(self, models: Mapping[str, SegmentationModel], description: Mapping[str, Any]) -> None:
        self.description = dict(description)
        self._models = {letter: model.eval() for letter, model in models.items()}
        self._task = Task.from_json(self.description["task"])

    @property
    def networks(self) -> Sequence[str]:
        """Letters of the networks."""
        return list(self._models)

    @property
    def task(self) -> Task:
        """Classes, colors, and how image files are read."""
        return self._task

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a class's index is its value in masks."""
        return self.task.classes

    def model(self, network: str = "a") -> SegmentationModel:
        """A network in evaluation mode: uint8 (B, 3, H, W) or float in [0, 1] -> logits (B, C, H, W).

        Args:
            network: Letter of the network.

        Raises:
            ConfigError: There is no such network.
        """
        if network not in self._models:
            raise ConfigError(f"no network {network!r} here; there are {', '.join(self._models)}")
        return self._models[network]

    def to(self, device: torch.device | str) -> "Segmenter":
        """Move the networks to a device."""
        for model in self._models.values():
            model.to(device)
        return self

    def colored(self, mask: UInt8Array) -> UInt8Array:
        """A mask, uint8 (H, W), as an RGB image, uint8 (H, W, 3)."""
        return self.task.color_table[mask]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json`, `model.safetensors` and a model card, `README.md`, into a folder.

        Raises:
            ConfigError: Files with these names exist that are not from an earlier export.
            OSError: The files cannot be written.
        """
        folder = Path(folder)
        _refuse_foreign(folder)
        tensors = {
            f"{letter}.{name}": tensor
            for letter, model in self._models.items()
            for name, tensor in model.state_dict().items()
        }
        sha256 = save_tensors(tensors, folder / WEIGHTS, as_strings(self.description))
        write_atomically(folder / CARD, model_card(self.description, "safetensors"))
        write_json(folder / CONFIG, self.description | {HASHES: {WEIGHTS: sha256}})

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> "Segmenter":
        """Load what `save_pretrained` or `push_to_hub` wrote; nothing in it is executed.

        Args:
            source: A folder, or USER/NAME on the Hugging Face Hub, which is downloaded once into its cache.
            revision: Branch, tag or commit on the Hub.
            token: Hub token; by default the one from `hf auth login`.

        Raises:
            DataError: No such folder or repository, the Hub cannot be reached, or the description is damaged.
            ConfigError: The networks have unregistered parts: import the module that registers them first.
            WeightsError: The weights are damaged or do not fit.
        """
        folder = Path(source)
        if not folder.is_dir():
            folder = _downloaded(str(source), revision, token)
        description = _read_description(folder / CONFIG)
        task = Task.from_json(description["task"])
        if not (folder / WEIGHTS).is_file():
            raise DataError(f"{folder} holds no {WEIGHTS}: job=export format=safetensors did not write it")
        remedy = "export it again, or download it again"
        require_sha256(folder / WEIGHTS, _sha256_of_weights(description, folder / CONFIG), remedy)
        del description[HASHES]
        tensors = read_weights(folder / WEIGHTS)
        letters = tuple(f"{letter}." for letter in description["networks"])
        if strays := [name for name in tensors if not name.startswith(letters)]:
            raise WeightsError(f"{folder / WEIGHTS}: {strays[0]} belongs to no network of {CONFIG}; {remedy}")
        models = {}
        for letter in description["networks"]:
            model = build_model(description["models"][letter], task.num_classes, projection=False, seed=0)
            own = {n.removeprefix(f"{letter}."): t for n, t in tensors.items() if n.startswith(f"{letter}.")}
            load_exactly(model, own, f"{folder / WEIGHTS}, network {letter}")
            models[letter] = model
        return cls(models, description)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload networks trained with dmtc",
    ) -> str:
        """Upload to the Hugging Face Hub, creating the repository if needed.

        Args:
            repo_id: USER/NAME.
            private: Whether a newly created repository is private; None for the account's default.
            token: Hub token; by default the one from `hf auth login`.
            revision: Branch to upload to; by default the main one.
            commit_message: Commit message of the upload.

        Returns:
            URL of the upload.

        Raises:
            DataError: The Hub cannot be reached or refuses.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as folder, _hub(repo_id):
            self.save_pretrained(folder)
            api = HfApi(token=token)
            name = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
            done = api.upload_folder(repo_id=name, folder_path=folder, revision=revision, commit_message=commit_message)
        return str(done)


def _refuse_foreign(folder: Path) -> None:
    there = [name for name in (CONFIG, WEIGHTS, CARD) if os.path.lexists(folder / name)]
    if there:
        try:
            own = json.loads(read_regular(folder / CONFIG))["library"] == "dmtc"
        except (OSError, ValueError, LookupError, TypeError):
            own = False
        if not own:
            raise ConfigError(
                f"{folder / there[0]} does not belong to networks of dmtc and is left alone; choose another folder"
            )


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(read_regular(path))
        version = description["format_version"]
        Task.from_json(description["task"])
        missing = {"networks", "models"} - description.keys()
    except FileNotFoundError:
        raise DataError(f"{path.parent} holds no {path.name}: job=export format=safetensors did not write it") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if version != FORMAT_VERSION or missing:
        raise DataError(f"{path} is of format {version}; this version of dmtc reads {FORMAT_VERSION}")
    return description


def _sha256_of_weights(description: Mapping[str, Any], path: Path) -> str:
    hashes = description.get(HASHES)
    if not isinstance(hashes, dict) or not isinstance(hashes.get(WEIGHTS), str):
        raise DataError(f"{path} is damaged, or of another version of dmtc: it has no {HASHES} of {WEIGHTS}")
    return hashes[WEIGHTS]


def _downloaded(repo_id: str, revision: str | None, token: str | None) -> Path:
    from huggingface_hub import snapshot_download

    with _hub(repo_id):
        return Path(snapshot_download(repo_id, revision=revision, token=token, allow_patterns=[CONFIG, WEIGHTS, CARD]))


@contextmanager
def _hub(repo_id: str) -> Iterator[None]:
    """Report any of the Hub's many errors in one line."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{repo_id}: no such folder, and the Hugging Face Hub says: {reason} ({type(error).__name__})"
        ) from error
