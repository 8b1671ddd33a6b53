"""Roboflow's "semantic segmentation masks": images, masks of class values beside them, and _classes.csv."""

import csv
from pathlib import Path

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import BACKGROUND, Labels, Picture
from dmtc.conversion.layers import WholeMask
from dmtc.core.errors import DataError
from dmtc.data.listed import read_lines
from dmtc.data.masks import ValueMasks

_LIST, _END = "_classes.csv", "_mask.png"


@FORMATS.register("roboflow_masks")
class RoboflowMasks:
    """Reads `NAME_mask.png` beside `NAME.jpg` by the values in `_classes.csv` of the same folder."""

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return bool(files.ending(_LIST)) and bool(files.ending(_END))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        lists = {path.parent: _values(path, files.shown(path), labels) for path in files.ending(_LIST)}
        labels.has_background = False  # its value is what was not painted
        masks = files.ending(_END)
        files.leave_out(masks)
        images = {(path.parent, path.stem): path for path in files.pictures}
        for path in masks:
            with labels.item(files.shown(path)):
                image = images.get((path.parent, path.name[: -len(_END)]))
                if image is None:
                    raise DataError("there is no image beside it")
                if path.parent not in lists:
                    raise DataError(f"there is no {_LIST} beside it")
                values = lists[path.parent]
                names = [None if name == BACKGROUND else name for name in values.values()]
                picture = labels.add(Picture(image, files.shown(path), part=files.part(image)))
                picture.layers.append(WholeMask(path, ValueMasks(list(values)), names))


def _values(path: Path, shown: str, labels: Labels) -> dict[int, str]:
    values: dict[int, str] = {}
    for number, row in enumerate(csv.reader(read_lines(path), skipinitialspace=True), start=1):
        if number == 1 and row and not row[0].strip().isdecimal():
            continue  # the header
        if len(row) != 2 or not row[0].strip().isdecimal() or int(row[0]) > 255 or int(row[0]) in values:
            raise DataError(f"{shown}: line {number}: should be a pixel value in 0..255, once, and a class")
        values[int(row[0])] = labels.name(row[1])
    if not values:
        raise DataError(f"{shown}: lists no class")
    return values
