"""CVAT for images: one XML file with polygons, masks, boxes and ellipses."""

from pathlib import Path
from xml.etree import ElementTree

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels, Layer, Picture
from dmtc.conversion.layers import Polygons, Runs, box, ellipse, polygon
from dmtc.conversion.runs import numbers_of, run_lengths
from dmtc.core.errors import DataError
from dmtc.core.yaml_files import read_text

_LARGEST = 1 << 30  # bytes
_HEAD = 4096  # characters in which the root element begins


@FORMATS.register("cvat")
class Cvat:
    """Reads the export "CVAT for images 1.1"; objects with a higher z_order cover others.

    Lines, points, cuboids, skeletons and tags are left out.
    """

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        found = False
        for path in files.ending(".xml"):
            with files.detecting():
                found |= _is_cvat(path)
        return found

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        for path in files.ending(".xml"):
            if _is_cvat(path):
                _read(path, files, labels)
            else:
                labels.left_out["XML files that are not CVAT's"] += 1


def _is_cvat(path: Path) -> bool:
    return "<annotations" in read_text(path, _LARGEST)[:_HEAD]


def _read(path: Path, files: InputFiles, labels: Labels) -> None:
    shown = files.shown(path)
    text = read_text(path, _LARGEST)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{shown}: holds a document type, which CVAT's files do not have")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{shown}: is not XML ({error})") from None
    if root.find("track") is not None:
        raise DataError(f"{shown}: is of a video; export it as 'CVAT for images 1.1'")
    for label in root.iterfind("meta//labels/label"):
        with labels.item(f"{shown}: labels"):
            labels.name(label.findtext("name"), _color(label.findtext("color")))
    known = bool(labels.classes)
    for image in root.iterfind("image"):
        name = image.get("name")
        where = f"{shown}: {name}"
        with labels.item(where):
            found = files.picture(name, path.parent)
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            picture = labels.add(Picture(found, where, size, files.part(found)))
            shapes = sorted(enumerate(image), key=lambda one: int(one[1].get("z_order", 0)))
            for place, shape in shapes:
                with labels.item(f"{where}: {shape.tag} {place}", picture):
                    layer = _layer(shape, labels, known)
                    if layer is None:
                        labels.left_out[f"CVAT's {shape.tag}, which has no area"] += 1
                    else:
                        picture.layers.append(layer)


def _layer(shape: ElementTree.Element, labels: Labels, known: bool) -> Layer | None:
    if shape.tag not in ("polygon", "mask", "box", "ellipse"):
        return None
    name = labels.name(shape.get("label"), known=known)
    if shape.tag == "polygon":
        points = [[float(number) for number in point.split(",")] for point in shape.attrib["points"].split(";")]
        return Polygons(name, [polygon(points)])
    values = {key: float(value) for key, value in shape.attrib.items() if key in _NUMBERS}
    if shape.tag == "mask":
        lengths = run_lengths(numbers_of(shape.attrib["rle"]))
        height, width, top, left = (int(values[key]) for key in ("height", "width", "top", "left"))
        return Runs(name, lengths, height, width, top, left)
    turn = values.get("rotation", 0.0)
    if shape.tag == "ellipse":
        return Polygons(name, [ellipse(values["cx"], values["cy"], values["rx"], values["ry"], turn)])
    left, top, right, bottom = (values[key] for key in ("xtl", "ytl", "xbr", "ybr"))
    return Polygons(name, [box(left, top, right - left, bottom - top, turn, pivot="center")])


_NUMBERS = {"height", "width", "top", "left", "rotation", "cx", "cy", "rx", "ry", "xtl", "ytl", "xbr", "ybr"}


def _color(text: str | None) -> list[int] | None:
    return list(bytes.fromhex(text.strip().removeprefix("#"))) if text and len(text.strip()) == 7 else None
