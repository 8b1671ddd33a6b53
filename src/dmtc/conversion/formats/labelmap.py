"""Masks in colors with labelmap.txt: CVAT's "segmentation mask" and everything in the layout of Pascal VOC."""

from pathlib import Path

from dmtc.conversion.formats.registry import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import BACKGROUND, IGNORED, Labels, Picture
from dmtc.conversion.layers import WholeMask
from dmtc.core.errors import DataError
from dmtc.data.folder.label_maps import label_map_entries
from dmtc.data.listed import MASK_SUFFIXES
from dmtc.data.masks import ColorMasks

_MASKS = ("segmentationclass", "segmentationclassaug", "masks", "mask", "labels", "annotations", "gt")
"""Names of folders of masks, in lower case, in order of preference."""

_OBJECTS = "segmentationobject"
_VOID = [224, 224, 192]
"""VOC's color of borders, which are ignored."""


@FORMATS.register("labelmap")
class Labelmap:
    """Reads masks, in RGB or with a palette, by the colors in `labelmap.txt`: lines `name:r,g,b:parts:actions`.

    The background's color is what nobody painted. VOC's color of borders is ignored, unless a class has it.
    """

    def detect(self, files: InputFiles) -> bool:
        """See `LabelFormat`."""
        return bool(files.ending("labelmap.txt"))

    def read(self, files: InputFiles, labels: Labels) -> None:
        """See `LabelFormat`."""
        maps = files.ending("labelmap.txt")
        if len(maps) != 1:
            raise DataError(f"there should be one labelmap.txt, but there are {len(maps)}")
        shown = files.shown(maps[0])
        colors: dict[str, list[int]] = {}
        for name, color in label_map_entries(maps[0], shown):
            colors[labels.name(name, color)] = color
        labels.has_background = False  # its color is what was not painted
        ignored = [colors.pop(IGNORED)] if IGNORED in colors else []
        ignored += [] if _VOID in colors.values() else [_VOID]
        names = [None if name == BACKGROUND else name for name in colors]
        read = ColorMasks(list(colors.values()), ignored)
        pictures = {path for path in files.labels if path.suffix.lower() in MASK_SUFFIXES}
        folder_name = _mask_folder_name(pictures)
        masks = sorted(path for path in pictures if folder_name in _lower(path))
        files.leave_out({*masks, *(path for path in pictures if path.parent.name.lower() == _OBJECTS)})
        for path in masks:
            with labels.item(files.shown(path)):
                image = files.picture_of(path, {folder_name: "JPEGImages"})
                picture = labels.add(Picture(image, files.shown(path), part=files.part(image)))
                picture.layers.append(WholeMask(path, read, names))


def _mask_folder_name(pictures: set[Path]) -> str:
    names = {name for path in pictures for name in _lower(path)}
    name = next((name for name in _MASKS if name in names), None)
    if name is None:
        raise DataError("there is no folder SegmentationClass or masks with PNG masks beside labelmap.txt")
    return name


def _lower(path: Path) -> list[str]:
    return [part.lower() for part in path.parent.parts]
