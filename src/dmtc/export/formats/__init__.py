"""The formats that networks are exported in. Importing this package registers every one of them in `FORMATS`."""

from dmtc.export.formats import onnx_format, torch_formats
from dmtc.export.formats.base import FORMATS, FileFormat

__all__ = ["FORMATS", "FileFormat", "onnx_format", "torch_formats"]
