"""Exports trained networks to files that work without the run, the data set, or this library."""

from dmtc.export.exporting import Exported, ExportOptions, export_run
from dmtc.export.formats import FORMATS
from dmtc.export.segmenter import Segmenter

__all__ = ["FORMATS", "ExportOptions", "Exported", "Segmenter", "export_run"]
