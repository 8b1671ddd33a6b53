"""Registry of the formats that `job.format` can name."""

from typing import Protocol

from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels
from dmtc.core.registry import Registry


class LabelFormat(Protocol):
    """Reads the exports of an annotation tool."""

    def detect(self, files: InputFiles) -> bool:
        """Whether an export has this format.

        Raises:
            DataError: A file is damaged.
        """
        ...

    def read(self, files: InputFiles, labels: Labels) -> None:
        """Read classes and pictures into `labels`; damaged entries are noted there.

        Raises:
            DataError: The export as a whole cannot be read.
        """
        ...


FORMATS: Registry[LabelFormat] = Registry("label format")
"""Builders take no arguments and return a `LabelFormat`."""
