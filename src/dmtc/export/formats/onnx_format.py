"""ONNX, with PyTorch's exporter based on `torch.export`; the older tracing one is deprecated and lacks newer opsets."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from dmtc.export.description import as_strings
from dmtc.export.formats.base import FORMATS, FileFormat, Reading, Size
from dmtc.export.formats.torch_formats import exported_program
from dmtc.export.module import INPUT, ExportedModule
from dmtc.export.pooling import with_averaging_matrices
from dmtc.export.segmenter import Segmenter

_OLDEST = 18
"""Oldest operator set version that PyTorch's exporter writes."""

_LARGEST = 2_000_000_000
"""Weights larger than this, in bytes, go to a separate file, because the format is limited to 2 GiB."""


@FORMATS.register("onnx")
class Onnx(FileFormat):
    """One file for ONNX Runtime, TensorRT, OpenVINO and others."""

    file = "model.onnx"
    writing_needs = ("onnx", "onnxscript")
    reading_needs = ("onnxruntime",)

    def opsets(self) -> range | None:
        """See `FileFormat.opsets`."""
        import onnx

        return range(_OLDEST, onnx.defs.onnx_opset_version() + 1)

    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """See `FileFormat.write`."""
        names = {0: "batch"} if size else {0: "batch", 2: "height", 3: "width"}
        program = exported_program(with_averaging_matrices(module), size)
        with _quietly():
            converted = torch.onnx.export(
                program,
                input_names=[INPUT],
                output_names=module.outputs,
                opset_version=opset,
                dynamic_shapes={INPUT: names},
                verbose=False,
            )
            assert converted is not None, "the exporter on torch.export returns a program"
            converted.model.metadata_props.update(as_strings(segmenter.description))
            if (written := converted.model.opset_imports.get("")) != opset:
                raise ValueError(f"opset {opset} was requested, but PyTorch can only write {written}")
            weights = sum(tensor.nbytes for tensor in module.state_dict().values())
            converted.save(str(path), external_data=weights > _LARGEST)

    def read(self, path: Path) -> Reading:
        """See `FileFormat.read`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Sequence[Tensor]:
            return [torch.from_numpy(array) for array in session.run(None, {INPUT: images.numpy()})]

        return run


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's messages about its internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
