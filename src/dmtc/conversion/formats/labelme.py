"""labelme: one JSON file an image."""

from typing import Any

import numpy as np

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels, Layer, Picture
from dmtc.conversion.layers import Polygons, Stamp, ellipse, polygon, unpacked
from dmtc.core.errors import DataError
from dmtc.data.listed import read_lines


@FORMATS.register("labelme")
class Labelme:
    """Reads polygons, rectangles, circles and masks; lines and points have no area and are left out.

    Classes are in the order of `labels.txt`, or else sorted. An image that is missing but embedded is taken from the
    JSON file. `__ignore__` means ignored pixels.
    """

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return any(_is_labelme(content) for content in files.peeked(".json"))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        for path in files.ending("labels.txt"):
            for name in read_lines(path):
                labels.name(name)
        found = Labels()
        for path, shown, content in files.json_files(labels):
            if not _is_labelme(content):
                labels.left_out["JSON files that are not labelme's"] += 1
                continue
            with labels.item(shown):
                height, width = content.get("imageHeight"), content.get("imageWidth")
                size = (height, width) if height and width else None
                name = content["imagePath"]
                try:
                    image = files.picture(name, path.parent)
                except DataError:
                    if not content.get("imageData"):
                        raise
                    image = files.keep(f"{path.stem}.{_suffix(name)}", unpacked(content["imageData"]))
                picture = labels.add(Picture(image, shown, size, files.part(path)))
                for place, shape in enumerate(content["shapes"]):
                    with labels.item(f"{shown}: shape {place}", picture):
                        layer = _layer(shape, found.name(shape["label"]))
                        if layer is None:
                            labels.left_out[f"labelme's {shape.get('shape_type')}s, which have no area"] += 1
                        else:
                            picture.layers.append(layer)
        for name in sorted(found.classes):
            labels.name(name)
        labels.has_background |= found.has_background


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _suffix(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    return suffix if suffix in ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp") else "png"


def _layer(shape: dict[str, Any], name: str) -> Layer | None:
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
        return Polygons(name, [polygon(points)])
    if kind == "rectangle":
        (x1, y1), (x2, y2) = points
        return Polygons(name, [polygon([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])])
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        return Polygons(name, [ellipse(x, y, radius, radius)])
    if kind == "mask":
        (x, y), _ = points
        return Stamp(name, shape["mask"], top=int(y), left=int(x), packed=False)
    return None
