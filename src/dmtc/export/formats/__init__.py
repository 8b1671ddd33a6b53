"""Export formats. Importing this package registers all of them in `FORMATS`."""

from dmtc.export.formats import onnx_format, torch_formats
from dmtc.export.formats.base import FORMATS, FileFormat

__all__ = ["FORMATS", "FileFormat", "onnx_format", "torch_formats"]
