"""TorchScript and `torch.export`: files that need PyTorch alone; and what both exporters of PyTorch are given."""

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmtc.core.files import write_atomically
from dmtc.export.formats.base import FORMATS, FileFormat, Reading, Size
from dmtc.export.module import INPUT, ExportedModule
from dmtc.export.segmenter import Segmenter

DESCRIPTION = "dmtc.json"
"""Name of the description inside both files."""

_EXAMPLE = (130, 198)
"""Height and width that an exporter sees where all are wanted; unlike each other, as it would take them for one."""


def example(size: Size) -> Tensor:
    """Images for an exporter: uint8 (2, 3, H, W). Two, as it would take one for a constant."""
    return torch.zeros(2, 3, *(size or _EXAMPLE), dtype=torch.uint8)


def dynamic_shapes(size: Size) -> dict[str, dict[int, Any]]:
    """Which dimensions may differ from the example."""
    free = (0,) if size else (0, 2, 3)
    return {INPUT: {axis: torch.export.Dim.DYNAMIC for axis in free}}


def exported_program(module: nn.Module, size: Size) -> torch.export.ExportedProgram:
    """The module as a graph.

    Raises:
        Exception: Whatever `torch.export` says of an architecture whose computation depends on the size of images.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about the insides of PyTorch and timm: what matters is compared afterwards
        return torch.export.export(module, (example(size),), dynamic_shapes=dynamic_shapes(size))


@FORMATS.register("torchscript")
class TorchScript(FileFormat):
    """A trace, which C++ and old versions of PyTorch read."""

    file = "model.pt"

    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """See `FileFormat.write`."""
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # it warns of whatever could depend on the size: that is tried afterwards
            traced = torch.jit.trace(module, example(size), check_trace=False)
            content = io.BytesIO()  # PyTorch would end the whole process, not raise, if it found the disk full
            torch.jit.save(traced, content, _extra_files={DESCRIPTION: json.dumps(segmenter.description)})
        write_atomically(path, content.getvalue())

    def read(self, path: Path) -> Reading:
        """See `FileFormat.read`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(path)


@FORMATS.register("torch_export")
class TorchExport(FileFormat):
    """A graph of PyTorch's operators, to be compiled ahead of time or lowered to other devices."""

    file = "model.pt2"

    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """See `FileFormat.write`."""
        program = exported_program(module, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = io.BytesIO()  # as above
            torch.export.save(program, content, extra_files={DESCRIPTION: json.dumps(segmenter.description)})
        write_atomically(path, content.getvalue())

    def read(self, path: Path) -> Reading:
        """See `FileFormat.read`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path).module()


@FORMATS.register("safetensors")
class Safetensors(FileFormat):
    """Weights alone, with all that `Segmenter.from_pretrained` needs: the layout of the Hugging Face Hub."""

    file = "model.safetensors"

    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """See `FileFormat.write`."""
        segmenter.save_pretrained(path.parent)

    def read(self, path: Path) -> Reading:
        """See `FileFormat.read`."""
        segmenter = Segmenter.from_pretrained(path.parent)
        module = ExportedModule({letter: segmenter.model(letter) for letter in segmenter.networks}, probabilities=True)

        def run(images: Tensor) -> Sequence[Tensor]:
            return module(images)

        return run
