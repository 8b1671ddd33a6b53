"""Base class of export formats. To add one, subclass `FileFormat` and register it in `FORMATS`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry
from dmtc.export.module import ExportedModule
from dmtc.export.segmenter import Segmenter

Reading = Callable[[Tensor], Sequence[Tensor]]
"""Runs an exported file: uint8 images (B, 3, H, W) to what `ExportedModule` returns."""

Size = tuple[int, int] | None
"""Height and width of the images, if a file takes only one size; None for any size."""


class FileFormat(ABC):
    """Writes networks to a file, and reads it back the way its users will."""

    file: str
    """Name of the file."""

    writing_needs: tuple[str, ...] = ()
    """Packages that writing needs besides dmtc's own dependencies."""

    reading_needs: tuple[str, ...] = ()
    """Packages that reading needs besides dmtc's own dependencies."""

    def opsets(self) -> range | None:
        """ONNX operator set versions that can be written; None for formats other than ONNX."""
        return None

    @abstractmethod
    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """Write a file that describes itself.

        Args:
            segmenter: The networks with their description.
            module: The same networks as one module.
            path: Path of the file, in an existing folder.
            size: Height and width of the images, if the file takes only one size.
            opset: ONNX operator set version, used only by ONNX.

        Raises:
            Exception: Any error of an exporter that cannot handle the architecture.
        """

    @abstractmethod
    def read(self, path: Path) -> Reading:
        """Read a file back. The packages in `reading_needs` are installed."""


FORMATS: Registry[FileFormat] = Registry("export format")


def missing_packages(names: Sequence[str]) -> list[str]:
    """The packages that are not installed."""
    return [name for name in names if find_spec(name) is None]


def require(format: str, names: Sequence[str]) -> None:
    """Check that a format's packages are installed.

    Raises:
        ConfigError: A package is missing; the message has the command that installs it.
    """
    if missing := missing_packages(names):
        raise ConfigError(f"format={format} needs {' and '.join(missing)}: pip install 'dmtc[export]'")
