"""TorchScript, `torch.export` and safetensors files, and the inputs shared by PyTorch's exporters."""

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
from dmtc.export.same_padding import with_simple_padding
from dmtc.export.segmenter import Segmenter

DESCRIPTION = "dmtc.json"
"""Name of the description inside both files."""

_EXAMPLE = (130, 198)
"""Example height and width for exporting any size; they differ, or the exporter would treat them as one dimension."""


def example(size: Size) -> Tensor:
    """Example images for an exporter: uint8 (2, 3, H, W). It would treat a batch size of one as a constant."""
    return torch.zeros(2, 3, *(size or _EXAMPLE), dtype=torch.uint8)


def dynamic_shapes(size: Size) -> dict[str, dict[int, Any]]:
    """The dimensions that may differ from the example."""
    free = (0,) if size else (0, 2, 3)
    return {INPUT: {axis: torch.export.Dim.DYNAMIC for axis in free}}


def exported_program(module: nn.Module, size: Size) -> torch.export.ExportedProgram:
    """The module as a graph.

    Raises:
        Exception: Any error of `torch.export`, such as for an architecture whose computation depends on image size.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about internals of PyTorch and timm; the outputs are compared later
        followed = module if size else with_simple_padding(module)
        return torch.export.export(followed, (example(size),), dynamic_shapes=dynamic_shapes(size))


@FORMATS.register("torchscript")
class TorchScript(FileFormat):
    """A trace, which C++ and old versions of PyTorch read."""

    file = "model.pt"

    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """See `FileFormat.write`."""
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # about what may depend on the image size, which is tested later
            traced = torch.jit.trace(module, example(size), check_trace=False)
            content = io.BytesIO()  # on a full disk PyTorch would end the process instead of raising
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
    """Weights and whatever else `Segmenter.from_pretrained` needs, in the layout of the Hugging Face Hub."""

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
