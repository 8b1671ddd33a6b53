"""Supervisely: a project with meta.json, and data sets with the folders img and ann."""

from typing import Any

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels, Layer, Picture
from dmtc.conversion.layers import Polygons, Stamp, polygon
from dmtc.core.errors import DataError


@FORMATS.register("supervisely")
class Supervisely:
    """Reads polygons with holes, bitmaps and rectangles; lines and points have no area and are left out."""

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return any(_is_meta(content) for content in files.peeked("meta.json"))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        metas = [path for path in files.ending("meta.json") if path.name == "meta.json"]
        if len(metas) != 1:
            raise DataError(f"a Supervisely project has one meta.json, but there are {len(metas)}")
        meta = files.json(metas[0])
        if not _is_meta(meta):
            raise DataError(f"{files.shown(metas[0])}: holds no list of classes")
        for one in meta["classes"]:
            with labels.item(f"{files.shown(metas[0])}: classes"):
                labels.name(one["title"], _color(one.get("color")))
        files.leave_out({path for path in files.pictures if path.parent.name.startswith("masks_")})
        for path, shown, content in files.json_files(labels):
            if path.parent.name != "ann":
                continue
            with labels.item(shown):
                beside = path.parent.parent / "img"
                image = files.picture(path.name.removesuffix(".json"), beside)
                size = (content["size"]["height"], content["size"]["width"])
                picture = labels.add(Picture(image, shown, size, files.part(path)))
                for place, one in enumerate(content["objects"]):
                    with labels.item(f"{shown}: object {place}", picture):
                        layer = _layer(one, labels)
                        if layer is None:
                            labels.left_out[f"Supervisely's {one.get('geometryType')}, which has no area"] += 1
                        else:
                            picture.layers.append(layer)


def _is_meta(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("classes"), list)
        and all(isinstance(one, dict) and "title" in one for one in content["classes"])
    )


def _layer(one: dict[str, Any], labels: Labels) -> Layer | None:
    name, kind = labels.name(one["classTitle"], known=True), one["geometryType"]
    if kind == "bitmap":
        left, top = one["bitmap"]["origin"]
        return Stamp(name, one["bitmap"]["data"], top=int(top), left=int(left), packed=True)
    if kind == "polygon":
        points = one["points"]
        return Polygons(name, [polygon(points["exterior"])], [polygon(hole) for hole in points.get("interior", [])])
    if kind == "rectangle":
        (x1, y1), (x2, y2) = one["points"]["exterior"]
        return Polygons(name, [polygon([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])])
    return None


def _color(text: Any) -> list[int] | None:
    return list(bytes.fromhex(text[1:])) if isinstance(text, str) and len(text) == 7 else None
