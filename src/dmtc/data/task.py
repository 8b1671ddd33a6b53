"""What a network needs to know to predict when the data set itself is not available."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dmtc.core.types import UInt8Array
from dmtc.data.images import ImageReader, read_image


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Classes, their colors, and how image files are read and resized.

    Attributes:
        dataset: The data set's name.
        classes: Class names; the position of a class is its index in the masks.
        palette: uint8 (C, 3), the RGB color of each class.
        reduction: Factor by which images are reduced when read: 2 for half height and width.
        reader: Reads image files the way training did.
    """

    dataset: str
    classes: tuple[str, ...]
    palette: UInt8Array
    reduction: int = 1
    reader: ImageReader = read_image

    @property
    def num_classes(self) -> int:
        """The number of classes C."""
        return len(self.classes)

    @property
    def color_table(self) -> UInt8Array:
        """uint8 (256, 3): the color of every label value; values outside the classes, such as 255, are white."""
        table = np.full((256, 3), 255, np.uint8)
        table[: self.num_classes] = self.palette
        return table

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON-serializable dict; colors become [R, G, B]."""
        classes = [
            {"name": name, "color": color} for name, color in zip(self.classes, self.palette.tolist(), strict=True)
        ]
        content = {"dataset": self.dataset, "reduction": self.reduction, "classes": classes}
        return content if self.reader == read_image else content | {"images": asdict(self.reader)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Task":
        """The inverse of `to_json`.

        Raises:
            LookupError: A key is missing.
            TypeError: A value has the wrong type.
            ValueError: A color is malformed.
        """
        classes = content["classes"]
        images = content.get("images", {})  # present only for a non-default reader
        palette = np.array([one["color"] for one in classes])
        if palette.shape != (len(classes), 3) or palette.min() < 0 or palette.max() > 255:
            raise ValueError("a color is three numbers in 0..255")
        return cls(
            dataset=content["dataset"],
            classes=tuple(one["name"] for one in classes),
            palette=palette.astype(np.uint8),
            reduction=content["reduction"],
            reader=ImageReader.of(images.get("bands"), images.get("value_range")),
        )
