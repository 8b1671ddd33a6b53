"""Label Studio: one JSON file with a list of tasks; brushes, polygons, rectangles and ellipses."""

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels, Layer, Picture
from dmtc.conversion.layers import Brush, Polygons, box, ellipse, polygon
from dmtc.core.errors import DataError
from dmtc.data.listed import IMAGE_SUFFIXES

_KINDS = {
    "brushlabels": "brush",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
    "ellipselabels": "ellipse",
}


@FORMATS.register("label_studio")
class LabelStudio:
    """Reads the export "JSON": of each task the annotation marked as ground truth, or the first that was not canceled.

    Images are found by the end of their address, also without the prefix that an upload gets. Key points, predictions
    and other annotators' work are left out. Classes are sorted.
    """

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return any(_is_label_studio(content) for content in files.peeked(".json"))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        found = Labels()
        for _, shown, content in files.json_files(labels):
            if not _is_label_studio(content):
                labels.left_out["JSON files that are not Label Studio's"] += 1
                continue
            for place, task in enumerate(content):
                where = f"{shown}: task {task.get('id', place)}"
                with labels.item(where):
                    _read(task, where, files, labels, found)
        for name in sorted(found.classes):
            labels.name(name)
        labels.has_background |= found.has_background


def _is_label_studio(content: Any) -> bool:
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    return all("annotations" in task and isinstance(task.get("data"), dict) for task in content)


def _read(task: dict[str, Any], where: str, files: InputFiles, labels: Labels, found: Labels) -> None:
    image = _picture(_address(task["data"]), files)
    given = [one for one in task["annotations"] if not one.get("was_cancelled")]
    given.sort(key=lambda one: not one.get("ground_truth"))
    labels.left_out["further annotations of the same image"] += max(0, len(given) - 1)
    results = given[0]["result"] if given else []
    shapes = [one for one in results if one.get("type") in _KINDS]
    sizes = {(one["original_height"], one["original_width"]) for one in shapes}
    if len(sizes) > 1:
        raise DataError("its regions are of several image sizes")
    picture = labels.add(Picture(image, where, next(iter(sizes), None), files.part(image)))
    for one in results:
        with labels.item(f"{where}: region {one.get('id', '')}", picture):
            if one.get("type") not in _KINDS:
                labels.left_out[f"Label Studio's {one.get('type')}, which has no area"] += 1
                continue
            if one.get("image_rotation"):
                raise DataError("the image was rotated in Label Studio; rotate it back and export again")
            names = one["value"].get(one["type"]) or []
            if len(names) != 1:
                raise DataError(f"it has {len(names)} classes; it should have one")
            picture.layers.append(_layer(one, found.name(names[0])))


def _layer(one: dict[str, Any], name: str) -> Layer:
    value, height, width = one["value"], one["original_height"], one["original_width"]
    kind = _KINDS[one["type"]]
    if kind == "brush":
        if value.get("format") != "rle":
            raise DataError(f"a brush of format {value.get('format')!r}; only rle is read")
        code = value["rle"]
        if not all(type(number) is int and 0 <= number <= 255 for number in code):
            raise DataError("a brush's code should be numbers in 0..255")
        return Brush(name, np.array(code, np.uint8))
    scale = np.array([width, height]) / 100  # coordinates are percent of the image's size
    if kind == "polygon":
        return Polygons(name, [polygon(value["points"]) * scale])
    x, y = np.array([value["x"], value["y"]], np.float64) * scale
    turn = float(value.get("rotation", 0))
    if kind == "ellipse":
        radius_x, radius_y = np.array([value["radiusX"], value["radiusY"]], np.float64) * scale
        return Polygons(name, [ellipse(x, y, radius_x, radius_y, turn)])
    wide, high = np.array([value["width"], value["height"]], np.float64) * scale
    return Polygons(name, [box(x, y, wide, high, turn)])


def _address(data: dict[str, Any]) -> str:
    """The address of the image among a task's data, whose key the labeling config chooses."""
    if isinstance(data.get("image"), str):
        return data["image"]
    texts = [value for value in data.values() if isinstance(value, str)]
    pictures = [text for text in texts if text.partition("?")[0].lower().endswith(IMAGE_SUFFIXES) or "?d=" in text]
    if len(pictures) != 1:
        raise DataError(f"its data name {len(pictures)} images; they should name one")
    return pictures[0]


def _picture(address: str, files: InputFiles) -> Any:
    try:
        split = urlsplit(address.replace("\\", "/"))
    except ValueError:
        raise DataError(f"the address {address!a} is malformed") from None
    local = parse_qs(split.query).get("d")
    parts = [part for part in (local[0] if local else unquote(split.path)).split("/") if part not in ("", ".", "..")]
    if not parts:
        raise DataError(f"the address {address!a} names no image")
    try:
        return files.picture_by_tail(parts)
    except DataError:
        plain = re.sub("^[0-9a-f]{8}-", "", parts[-1])
        if plain == parts[-1]:
            raise
        return files.picture_by_tail([plain])
