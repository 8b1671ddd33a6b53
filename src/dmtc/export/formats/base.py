"""What a file format has to do. One of your own is a subclass of `FileFormat`, registered in `FORMATS`."""

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
"""An exported file at work: uint8 images (B, 3, H, W) to what `ExportedModule` returns."""

Size = tuple[int, int] | None
"""Height and width of the only images that a file takes; None for any."""


class FileFormat(ABC):
    """How networks are written, and read back as whoever takes them will."""

    file: str
    """Name of the file."""

    writing_needs: tuple[str, ...] = ()
    """Packages that writing takes beyond those of dmtc."""

    reading_needs: tuple[str, ...] = ()
    """Packages that reading takes beyond those of dmtc."""

    def opsets(self) -> range | None:
        """Versions of ONNX's operators that can be written; None of formats that have none."""
        return None

    @abstractmethod
    def write(self, segmenter: Segmenter, module: ExportedModule, path: Path, size: Size, opset: int) -> None:
        """Write a file that describes itself.

        Args:
            segmenter: The networks with their description.
            module: The same as one module.
            path: Of the file, in a folder that is there.
            size: Of the images, if the file shall take no others.
            opset: Version of ONNX's operators, for formats that have them.

        Raises:
            Exception: Whatever the exporter says of an architecture that it cannot take.
        """

    @abstractmethod
    def read(self, path: Path) -> Reading:
        """Read a file back. What `reading_needs` names is there."""


FORMATS: Registry[FileFormat] = Registry("export format")


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    return [name for name in names if find_spec(name) is None]


def require(format: str, names: Sequence[str]) -> None:
    """Refuse to begin what cannot be done.

    Raises:
        ConfigError: A package is missing; with the command that installs it.
    """
    if missing := missing_packages(names):
        raise ConfigError(f"format={format} needs {' and '.join(missing)}: pip install 'dmtc[export]'")
