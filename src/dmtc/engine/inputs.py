"""Keeps output from being written among a data set's images and masks."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError, UserError
from dmtc.core.ownership import is_inside
from dmtc.engine.components import Components


def refuse_among_inputs(components: Components, path: Path, option: str) -> None:
    """Refuse to write among the images and masks of a run's data set, where the next run would read the output as data.

    Args:
        components: The run's components; its data set may be gone.
        path: The output path; it need not exist yet.
        option: The setting that names the path.

    Raises:
        ConfigError: The path is a folder of images or masks, or inside one.
    """
    for folder in _input_folders(components, path):
        if is_inside(path, folder):
            raise ConfigError(
                f"{option}={path} lies in {folder}, where the data set's images or masks are; choose another place"
            )


def _input_folders(components: Components, path: Path) -> Iterator[Path]:
    settings = components.config["dataset"]
    yield from _named(settings, "images", "masks", "unlabelled")
    roots = list(_named(settings, "root"))
    if roots and not any(is_inside(path, root) for root in roots):
        return  # no need to read the data set
    try:
        dataset = components.dataset
        for files in (dataset.images, dataset.masks):
            # Reading an entry itself could create a resized copy.
            source: Callable[[str], Path] = getattr(files, "source", files.__getitem__)
            found = {(os.path.dirname(source(id)), os.path.dirname(id)) for id in files}
            yield from {_folder_of(folder, inside) for folder, inside in found}
    except (UserError, OSError):
        return  # the data set was moved or deleted


def _named(settings: Mapping[str, Any], *keys: str) -> Iterator[Path]:
    for key in keys:
        given = settings.get(key)
        for one in given if isinstance(given, list) else [given]:
            if isinstance(one, str) and (folder := Path(one).expanduser()).is_dir():
                yield folder


def _folder_of(folder: str, inside: str) -> Path:
    """The folder that was searched, given a file's parent folder and the folder part of its id."""
    path = Path(folder)
    for part in reversed(Path(inside).parts):
        if path.name != part:
            break
        path = path.parent
    return path
