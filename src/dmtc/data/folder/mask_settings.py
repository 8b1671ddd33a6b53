"""Combines settings, class files and the masks themselves into a reading of masks and classes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dmtc.core.errors import ConfigError
from dmtc.data.folder.class_lists import ClassList, find_class_list, read_class_list
from dmtc.data.folder.class_tables import class_table, read_class_table
from dmtc.data.folder.ignore_words import ignore_warning, is_ignore_word, without_labelmes
from dmtc.data.folder.label_maps import is_label_map, label_map, read_label_map
from dmtc.data.folder.mask_kinds import recognize
from dmtc.data.folder.mask_reading import MaskKind, MaskReading
from dmtc.data.folder.mask_survey import survey_masks
from dmtc.data.masks import ColorMasks, Ignored, ignored_colors, ignored_values

log = logging.getLogger(__name__)

_SURVEYED = 100
"""Number of masks to open if the classes are named. If they are not, all masks are opened."""


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """The settings of `dataset=folder` about masks and classes; see `dmtc.data.folder.dataset.folder`.

    Raises:
        ConfigError: The settings contradict each other.
    """

    kind: Literal["auto"] | MaskKind
    classes: list[str] | str | None
    values: list[int] | None
    colors: list[list[int]] | None
    ignore_value: Ignored
    ignore_color: list[int] | list[list[int]] | None

    def __post_init__(self) -> None:
        if self.colors is not None and self.ignore_value is not None and self.kind in ("auto", "rgb"):
            raise ConfigError(
                "dataset.ignore_value is a value, but dataset.colors says that the masks hold colors (ignored is then"
                " dataset.ignore_color); if they do not, set dataset.mask_kind=index"
            )

    def class_list(self, around: Sequence[Path], beside: Sequence[Path]) -> ClassList:
        """What is known about the classes. Settings override the class file; names in the settings replace it.

        Args:
            around: Folders to search for a class file.
            beside: Folders to search for a table of classes, if there is no such file.

        Raises:
            ConfigError: A name or color is given twice or malformed.
            DataError: The file cannot be read.
        """
        if isinstance(self.classes, list):
            names = without_labelmes(self.classes, "dataset.classes")
            if not names or len(set(names)) < len(names):
                raise ConfigError(
                    f"dataset.classes: class names should be one or more, each once, but are {self.classes}"
                )
            listed = ClassList(names=tuple(names), source="dataset.classes")
        else:
            path = find_class_list(around) if self.classes is None else Path(self.classes).expanduser()
            listed = (class_table(beside) or label_map(beside) or ClassList()) if path is None else _read(path)
        settings: dict[str, Any] = {"values": self.values, "colors": self.colors}
        settings = {key: value for key, value in settings.items() if value is not None}
        if self.ignore_value is not None:
            settings["ignore_values"] = ignored_values(self.ignore_value)
        if self.ignore_color is not None:
            settings["ignore_colors"] = tuple(ignored_colors(self.ignore_color))
        listed = replace(listed, **settings)
        listed = _without_ignored(listed)
        warning = ignore_warning(listed.names or (), listed.source)
        if warning is not None:
            log.warning("%s", warning)
        if listed.colors is not None:
            ColorMasks(listed.colors, listed.ignore_colors)  # refuses malformed and duplicate colors
        return listed

    def reading(self, masks: Mapping[str, Path], given: ClassList) -> tuple[MaskReading, str]:
        """Decide how to read masks, with a note about it. Opens masks only if the settings leave this open.

        Args:
            masks: Mask files by id.
            given: The result of `class_list`.

        Raises:
            DataError: No mask can be read, or the masks are ambiguous.
        """
        kind = self.kind
        if given.places is not None and kind in ("index", "palette"):
            given, kind = replace(given, values=given.places, places=None), "values"
        named = given.names is not None
        if kind != "auto" and named:
            needed = {"rgb": given.colors, "values": given.values, "binary": given.values, "threshold": given.values}
            if needed.get(kind, True) is not None:
                return MaskReading(
                    kind, given, "as dataset.mask_kind says"
                ), f"masks: {kind}, as dataset.mask_kind says"
        paths = list(masks.values())
        if named:
            paths = paths[:: max(1, -(-len(paths) // _SURVEYED))]
        survey = survey_masks(paths, given.ignore_values, given.values or ())
        reading = recognize(survey, given, kind)
        of = f"{survey.files} of {len(masks)}" if survey.files < len(masks) else f"all {len(masks)}"
        others = f"; {survey.others} differ or are unreadable" if survey.others else ""
        return reading, f"masks: {reading.kind}, as {of} masks show: {reading.why}{others}"


def _read(path: Path) -> ClassList:
    if is_label_map(path):
        return read_label_map(path)
    return read_class_table(path) if path.suffix.lower() == ".csv" else read_class_list(path)


def _without_ignored(listed: ClassList) -> ClassList:
    """Drop names such as void whose position in the list is an ignored value."""
    names, colors = listed.names, listed.colors
    if names is None or listed.values is not None or listed.places is not None:
        return listed
    left = [p for p, name in enumerate(names) if not (p in listed.ignore_values and is_ignore_word(name))]
    if len(left) == len(names):
        return listed
    return replace(
        listed,
        names=tuple(names[place] for place in left),
        colors=None if colors is None else [colors[place] for place in left],
        places=None if left == list(range(len(left))) else left,
    )


def found_settings(reading: MaskReading) -> dict[str, Any]:
    """The settings equivalent to a reading."""
    classes = reading.classes
    values, colors = classes.ignore_values, classes.ignore_colors
    return {
        "mask_kind": reading.kind,
        "classes": list(reading.names),
        "values": classes.values,
        "colors": classes.colors,
        "ignore_value": None if not values else values[0] if len(values) == 1 else list(values),
        "ignore_color": None if not colors else colors[0] if len(colors) == 1 else list(colors),
    }


def classes_note(names: tuple[str, ...], given: ClassList) -> str:
    """A note with the classes and where they come from."""
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    source = (
        f"from {given.source}" if given.names is not None else "named after the masks; classes.yaml would name them"
    )
    return f"classes: {len(names)} ({shown}), {source}"
