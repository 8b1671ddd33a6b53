"""COCO instances: one JSON file a part, with polygons and run-length codes; also Roboflow's COCO export."""

from pathlib import Path
from typing import Any

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import IGNORED, Labels, Layer, Picture
from dmtc.conversion.layers import Polygons, Runs, polygon_of_flat
from dmtc.conversion.runs import coco_run_lengths, run_lengths
from dmtc.core.errors import DataError
from dmtc.data.part_names import part_of


@FORMATS.register("coco")
class Coco:
    """Reads every JSON file with images, categories and annotations; categories of several files match by name.

    Crowd regions are ignored where no object is. Boxes without a polygon or mask are left out.
    """

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return any(_is_coco(content) for content in files.peeked(".json"))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        for path, shown, content in files.json_files(labels):
            if _is_coco(content):
                _read(path, shown, content, files, labels)
            else:
                labels.left_out["JSON files that are not COCO's"] += 1


def _is_coco(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("images"), list)
        and isinstance(content.get("categories"), list)
        and isinstance(content.get("annotations", []), list)
    )


def _read(path: Path, shown: str, content: dict[str, Any], files: InputFiles, labels: Labels) -> None:
    annotations = content.get("annotations", [])
    names: dict[Any, str] = {}
    used = {one.get("category_id") for one in annotations if isinstance(one, dict) and _plain(one.get("category_id"))}
    for place, category in enumerate(content["categories"]):
        with labels.item(f"{shown}: category {place}"):
            key = category["id"]
            if key in names:
                raise DataError(f"the id {key} is given twice")
            if category.get("supercategory") == "none" and key not in used and len(content["categories"]) > 1:
                continue  # Roboflow lists the project's name as a category of its own
            names[key] = labels.name(category["name"])
    part = files.part(path) or part_of(path.stem) or part_of(path.stem.rpartition("_")[2])  # instances_val2017
    pictures: dict[Any, Picture] = {}
    for place, image in enumerate(content["images"]):
        with labels.item(f"{shown}: image {place}"):
            if image["id"] in pictures:
                raise DataError(f"the id {image['id']} is given twice")
            size = (image["height"], image["width"]) if image.get("height") and image.get("width") else None
            found = files.picture(image["file_name"], path.parent, part)
            where = f"{shown}: {image['file_name']}"
            pictures[image["id"]] = labels.add(Picture(found, where, size, files.part(found) or part))
    faulty = len(pictures) < len(content["images"])
    for place, annotation in enumerate(annotations):
        where = f"{shown}: annotation {place}"
        with labels.item(where):
            where = f"{shown}: annotation {annotation.get('id', place)}"
            picture = pictures.get(annotation["image_id"])
            if picture is not None:
                with labels.item(where, picture):
                    _add(annotation, names, picture, labels)
            elif not faulty:  # else the image itself may be at fault
                raise DataError(f"image_id {annotation['image_id']} is none of the images")


def _add(annotation: dict[str, Any], names: dict[Any, str], picture: Picture, labels: Labels) -> None:
    if "segments_info" in annotation:
        raise DataError("it is panoptic; convert instances (instances_*.json) instead")
    key, crowd = annotation["category_id"], bool(annotation.get("iscrowd", 0))
    if key not in names:
        raise DataError(f"category_id {key} is none of the categories")
    layer = _layer(annotation.get("segmentation"), IGNORED if crowd else names[key])
    if layer is None:
        labels.left_out["boxes without a polygon or mask"] += 1
    else:
        (picture.ignored if crowd else picture.layers).append(layer)


def _layer(segmentation: Any, name: str) -> Layer | None:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return Polygons(name, [polygon_of_flat(outline) for outline in segmentation])
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    lengths = coco_run_lengths(counts) if isinstance(counts, str) else run_lengths(counts)
    return Runs(name, lengths, height, width, column_major=True)


def _plain(value: Any) -> bool:
    return isinstance(value, int | str)
