"""What every format is read into: pictures with layers to paint, classes, and what was left out or damaged."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dmtc.core.errors import DataError
from dmtc.core.types import UInt8Array
from dmtc.data.part_names import Part

IGNORED = "__ignore__"
"""Name under which layers paint ignored pixels; labelme uses the same."""

BACKGROUND = "background"
_BACKGROUNDS = {"background", "_background_", "__background__"}

_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, OverflowError)
"""What a reader raises where a file has another shape than its format says."""


class Layer(Protocol):
    """Something to paint over a mask."""

    def paint(self, canvas: UInt8Array, values: Mapping[str, int]) -> bool:
        """Paint over a mask uint8 (H, W) with the value of each class name; return whether any pixel was painted.

        Raises:
            DataError: The layer is damaged or does not fit the mask's size.
        """
        ...


@dataclass(eq=False)
class Picture:
    """An image that a label file names.

    Attributes:
        path: The image file.
        where: The label file and entry, for messages.
        size: Height and width that the labels were drawn for; None if not known.
        part: The part of the data set, or None if the path tells it.
        layers: What to paint, in order.
        ignored: Ignored regions, painted before `layers`.
        is_named: Whether a label file names the image.
        is_damaged: Whether an object is damaged: a mask without it would be wrong, so there is none.
    """

    path: Path
    where: str
    size: tuple[int, int] | None = None
    part: Part | None = None
    layers: list[Layer] = field(default_factory=list)
    ignored: list[Layer] = field(default_factory=list)
    is_named: bool = True
    is_damaged: bool = False


@dataclass(eq=False)
class Labels:
    """The content of an export.

    Attributes:
        classes: Class names in order, without a background, each with its color or None.
        background: Color of the background, if the export lists it.
        pictures: The images that label files name.
        left_out: Count of each kind of content that a mask cannot hold.
        faults: Damaged content, one sentence each.
        has_background: Whether layers paint the background like a class.
    """

    classes: dict[str, list[int] | None] = field(default_factory=dict)
    background: list[int] | None = None
    pictures: list[Picture] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    has_background: bool = False
    _paths: dict[Path, str] = field(default_factory=dict)

    @contextmanager
    def item(self, where: str, picture: Picture | None = None) -> Iterator[None]:
        """Note a fault of the content that is read or painted in the block, and go on after it.

        Args:
            where: The file and entry, for the message.
            picture: The image of the entry, which then gets no mask.
        """
        before = len(self.faults)
        try:
            yield
        except DataError as error:
            self.faults.append(f"{where}: {error}")
        except _MALFORMED as error:
            text = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:120]
            self.faults.append(f"{where}: malformed ({type(error).__name__}: {text})")
        if picture is not None and len(self.faults) > before:
            picture.is_damaged = True

    def name(self, name: object, color: list[int] | None = None, known: bool = False) -> str:
        """The name under which a class is painted; a new class is added.

        Args:
            name: The name in the export.
            color: Its RGB color, if the export has one.
            known: Refuse a name that is not among the classes.

        Raises:
            DataError: The name is not text, or unknown.
        """
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise DataError(f"a class name should be text, but is {name!r}")
        name = name.strip()
        if name == IGNORED:
            return IGNORED
        if name.lower() in _BACKGROUNDS:
            self.background = color or self.background
            if not known:
                self.has_background = True
            return BACKGROUND
        if name not in self.classes:
            if known:
                raise DataError(f"unknown class {name!r} (known: {', '.join(self.classes) or 'none'})")
            self.classes[name] = color
        return name

    def add(self, picture: Picture) -> Picture:
        """Add an image.

        Raises:
            DataError: Another entry has the same file.
        """
        key = picture.path.resolve()
        if key in self._paths:
            raise DataError(f"the image {picture.path.name} is also that of {self._paths[key]}; keep one of the two")
        self._paths[key] = picture.where
        self.pictures.append(picture)
        return picture
