"""The formats of label files, one file each. Importing this package registers all of them in `FORMATS`."""

from dmtc.conversion.formats import coco, cvat, label_studio, labelmap, labelme, roboflow_masks, supervisely, yolo
from dmtc.conversion.formats.registry import FORMATS, LabelFormat

__all__ = [
    "FORMATS",
    "LabelFormat",
    "coco",
    "cvat",
    "label_studio",
    "labelmap",
    "labelme",
    "roboflow_masks",
    "supervisely",
    "yolo",
]
