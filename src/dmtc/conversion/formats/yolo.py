"""YOLO segmentation: one text file an image, with polygons as fractions of the image's size, and data.yaml."""

import math
from pathlib import Path
from typing import Any

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels, Picture
from dmtc.conversion.layers import Polygons, polygon_of_flat
from dmtc.core.errors import DataError
from dmtc.core.yaml_files import read_yaml
from dmtc.data.listed import numbered_lines

_FOLDERS = {"labels": "images"}


@FORMATS.register("yolo")
class Yolo:
    """Reads the polygons below every folder `labels`, beside `images`; boxes are left out.

    Of data.yaml only the names of the classes are used, since its paths are often those of another machine.
    """

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return bool(_lists(files))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        lists = _lists(files)
        if len(lists) != 1:
            raise files.fault or DataError(f"YOLO labels need one data.yaml with names:, but there are {len(lists)}")
        (path, given), *_ = lists.items()
        names = _names(given, files.shown(path), labels)
        for path in files.ending(".txt"):
            if "labels" not in [part.lower() for part in path.relative_to(files.root).parts[:-1]]:
                continue
            shown = files.shown(path)
            with labels.item(shown):
                picture = labels.add(Picture(files.picture_of(path, _FOLDERS), shown, part=files.part(path)))
                for number, line in numbered_lines(path):
                    with labels.item(f"{shown}:{number}", picture):
                        _read_line(line, names, picture, labels)


def _read_line(line: str, names: dict[int, str], picture: Picture, labels: Labels) -> None:
    first, *rest = line.split()
    if not first.isdecimal() or int(first) not in names:
        raise DataError(f"unknown class id {first} (known: 0 to {max(names)})")
    numbers = [float(one) for one in rest]
    if not all(map(math.isfinite, numbers)):
        raise DataError("a coordinate is not a finite number")
    if len(numbers) == 4:
        labels.left_out["boxes without a polygon"] += 1
        return
    if any(not -1 <= number <= 2 for number in numbers):
        raise DataError("coordinates should be fractions of the image's width and height, in [0, 1]")
    picture.layers.append(Polygons(names[int(first)], [polygon_of_flat(numbers)], scaled=True))


def _lists(files: InputFiles) -> dict[Path, Any]:
    """The names of classes in each YAML file that has them."""
    found = {}
    for path in files.ending(".yaml", ".yml"):
        with files.detecting():
            content = read_yaml(path)
            if isinstance(content, dict) and "names" in content:
                found[path] = content["names"]
    return found


def _names(given: Any, shown: str, labels: Labels) -> dict[int, str]:
    pairs = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    names = {int(place): labels.name(str(name)) for place, name in sorted(pairs)}
    if not names:
        raise DataError(f"{shown}: names: should list the classes")
    return names
