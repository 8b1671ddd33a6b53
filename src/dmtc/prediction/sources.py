"""Finding the images and videos to predict, and naming their results."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import require_regular
from dmtc.core.ownership import is_inside
from dmtc.data.dataset import few
from dmtc.data.folder.unread import unread_text
from dmtc.data.georeference import georeference_of
from dmtc.data.listed import IMAGE_SUFFIXES, files_below

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)  # without slots, for the cached property
class Source:
    """A file to predict.

    Attributes:
        path: Its path.
        name: Unique name of its results: the path within the input, with `/`, usually without the suffix.
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return _is_video(self.path)

    @cached_property
    def is_georeferenced(self) -> bool:
        """Whether it is a GeoTIFF that says where it lies on the map."""
        return self.path.suffix.lower() in (".tif", ".tiff") and georeference_of(self.path) is not None


def find_sources(inputs: Sequence[str], output: Path) -> list[Source]:
    """All images and videos of the inputs, sorted by name.

    Files that differ only in their suffix (`a.jpg`, `a.png`) keep it in their names.

    Args:
        inputs: Each a file, a folder (searched recursively, except hidden folders), or a pattern with `*`, `?`, `[...]`
            and `**`.
        output: Folder of results; if it lies within an input, files in it are not inputs.

    Raises:
        ConfigError: The output is an input, or contains one.
        DataError: An input does not exist or has no images, or two inputs would get the same name.
    """
    by_path: dict[Path, tuple[Path, PurePath]] = {}  # by absolute path, so that overlapping inputs count once
    for text in inputs:
        files = {path.absolute(): (path, inside) for path, inside in _files_of(text)}
        inside_output = _those_inside(output, {path.parent for path in files})
        files = {path: file for path, file in files.items() if path.parent not in inside_output}
        if inside_output and not files and is_inside(around := _around(text), output):
            where = "is the input folder" if is_inside(output, around) else f"contains input={text}"
            raise ConfigError(f"output={output} {where}: results would mix with the images; choose another folder")
        if not files:
            suffixes = ", ".join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
            folder = Path(text).expanduser()
            unread = unread_text({folder: (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)}) if folder.is_dir() else None
            raise DataError(
                f"input={text}: no images or videos there (looked for {suffixes}){f'; {unread}' if unread else ''}"
            )
        by_path = files | by_path
    found = dict(by_path.values())
    names = _names(found)
    return sorted((Source(path, names[path]) for path in found), key=lambda source: source.name)


def _those_inside(output: Path, folders: set[Path]) -> set[Path]:
    """The folders that are or lie within the output, also through links."""
    return {folder for folder in folders if is_inside(folder, output)} if output.exists() else set()


def _files_of(text: str) -> Iterator[tuple[Path, PurePath]]:
    """The files of one input, each with its path within the input."""
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted(file for file in files_below(path) if _is_known(file))
        yield from ((file, file.relative_to(path)) for file in files)
    elif path.exists():
        require_regular(path)
        yield path, PurePath(path.name)
    elif _WILD.search(str(path)):
        root, pattern = _split(path)
        for file in sorted(root.glob(pattern)):
            if _is_known(file) and file.exists() and not file.is_dir():
                require_regular(file)
                yield file, file.relative_to(root)
    else:
        raise DataError(f"input={text}: there is no such file or folder (looked from {Path.cwd()})")


def _split(path: Path) -> tuple[Path, str]:
    """The folder that a pattern starts in, and the rest of the pattern."""
    fixed = next(i for i, part in enumerate(path.parts) if _WILD.search(part))
    return Path(*path.parts[:fixed]), str(PurePath(*path.parts[fixed:]))


def _around(text: str) -> Path:
    """The folder searched for an existing input."""
    path = Path(text).expanduser()
    return path if path.is_dir() else path.parent if path.exists() else _split(path)[0]


def _names(found: dict[Path, PurePath]) -> dict[Path, str]:
    names = {path: inside.with_suffix("").as_posix() for path, inside in found.items()}
    while clashing := _clashing(names):
        longer = {path: found[path].as_posix() for path in clashing if names[path] != found[path].as_posix()}
        if not longer:
            pairs = ", ".join(str(path) for path in sorted(clashing)[:2])
            raise DataError(
                f"{len(clashing)} inputs would be written under the names of others: {pairs}; use the folder around"
                f" them as input, or predict them into separate folders ({few(sorted(set(names.values())))})"
            )
        names |= longer
    return names


def _clashing(names: dict[Path, str]) -> list[Path]:
    """Files with the same name, and videos whose folder of frames would contain other results."""
    named: dict[str, list[Path]] = defaultdict(list)
    for path, name in names.items():
        named[name].append(path)
    folders = {parent.as_posix() for name in named for parent in PurePath(name).parents}
    return [path for path, name in names.items() if len(named[name]) > 1 or (_is_video(path) and name in folders)]


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or _is_video(path)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
