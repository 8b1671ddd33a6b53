"""The files of an export: label files, and the images that they name."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from dmtc.conversion.labels import Labels
from dmtc.core.errors import DataError
from dmtc.core.yaml_files import read_text
from dmtc.data.dataset import few
from dmtc.data.listed import IMAGE_SUFFIXES, files_below
from dmtc.data.part_names import Part, part_of_id

_LARGEST_JSON = 1 << 30  # bytes; COCO's own files have half of that
_PEEKED = 20
"""How many files of a kind are opened to detect a format."""


class InputFiles:
    """The files of an export.

    Args:
        root: The folder of the export.
        only: The single label file to read; None for all.
        images: Another folder that holds the images, or None.
        scratch: A folder for images that are embedded in label files.
    """

    def __init__(self, root: Path, only: Path | None, images: Path | None, scratch: Path) -> None:
        self.root = root
        self._scratch = scratch
        self._files = sorted(files_below(root))
        self.pool = root if images is None else images
        self._has_own_pool = images is not None
        pool = self._files if images is None else sorted(files_below(images))
        self.pictures = [path for path in pool if path.suffix.lower() in IMAGE_SUFFIXES]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.pictures:
            self._by_name[path.name].append(path)
            self._by_stem[path.stem].append(path)
        self.labels = [only] if only is not None else self._files
        self._parsed: dict[Path, Any] = {}
        self.fault: DataError | None = None

    def shown(self, path: Path) -> str:
        """A path for messages, relative to the export."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def ending(self, *ends: str) -> list[Path]:
        """Label files whose names end so, in lower case."""
        return [path for path in self.labels if path.name.lower().endswith(ends)]

    def peeked(self, *ends: str) -> Iterator[Any]:
        """The content of the first JSON files, to detect a format; a damaged one becomes `fault`."""
        for path in self.ending(*ends)[:_PEEKED]:
            with self.detecting():
                if path not in self._parsed:
                    self._parsed[path] = _parse(path, self.shown(path))
                yield self._parsed[path]

    @contextmanager
    def detecting(self) -> Iterator[None]:
        """Keep an error as `fault`, the reason if no format is detected."""
        try:
            yield
        except DataError as error:
            self.fault = self.fault or error

    def json_files(self, labels: Labels) -> Iterator[tuple[Path, str, Any]]:
        """Path, name for messages, and content of every JSON file; those that are damaged are noted as faults."""
        for path in self.ending(".json"):
            try:
                content = self.json(path)
            except DataError as error:
                labels.faults.append(str(error))
                continue
            yield path, self.shown(path), content

    def json(self, path: Path) -> Any:
        """The content of a JSON file.

        Raises:
            DataError: The file is too large, not JSON, or holds NaN.
        """
        return self._parsed.pop(path) if path in self._parsed else _parse(path, self.shown(path))

    def keep(self, name: str, content: bytes) -> Path:
        """Keep an image that a label file embeds, as a file."""
        folder = self._scratch / f"{len(list(self._scratch.iterdir()))}"
        folder.mkdir()
        path = folder / PurePosixPath(name).name
        path.write_bytes(content)
        return path

    def picture(self, name: object, beside: Path | None = None, part: Part | None = None) -> Path:
        """Find the image that a label file names.

        Args:
            name: A file name or path, also of Windows.
            beside: A folder that the path may be relative to; the root of the export always is one.
            part: The part of the label file, which decides between several files of the same name.

        Raises:
            DataError: The path leads outside of the export, or no image or several are there.
        """
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise DataError(f"the name of an image should be text, but is {name!a}")
        parts = PurePosixPath(name.replace("\\", "/")).parts
        leads_outside = parts[0] == "/" or bool(re.match("[A-Za-z]:", parts[0]))
        for folder in [] if leads_outside else [beside or self.root, self.root]:
            inner = _joined(folder.relative_to(self.root).parts, parts)
            leads_outside |= inner is None
            if inner is not None and (path := self.pool.joinpath(*inner)) in self._by_name[path.name]:
                return path
            if beside is None:
                break
        if leads_outside and not self._has_own_pool:
            raise DataError(
                f"the image {name!a} lies outside the input; job.images=DIR names the folder that holds the images"
            )
        return self.picture_by_tail([part for part in parts if part not in ("..", "/")], part)

    def picture_by_tail(self, parts: Sequence[str], part: Part | None = None) -> Path:
        """Find the image whose path ends with as many of these parts as possible, the last of them at least.

        Raises:
            DataError: There is none, or several.
        """
        found = self._by_name.get(parts[-1], [])
        for length in range(2, len(parts) + 1):
            longer = [path for path in found if path.parts[-length:] == tuple(parts[-length:])]
            found = longer or found
        if len(found) > 1 and part is not None:
            found = [path for path in found if self.part(path) == part] or found
        if not found:
            raise self._nowhere(f"{'/'.join(parts)!a}")
        if len(found) > 1:
            raise DataError(f"the image {parts[-1]!a} may be any of {few([self.shown(path) for path in found])}")
        return found[0]

    def part(self, path: Path) -> Part | None:
        """The part of a data set that a file belongs to, by its folders in the export."""
        base = self.pool if path.is_relative_to(self.pool) else self.root
        return part_of_id(path.relative_to(base).as_posix()) if path.is_relative_to(base) else None

    def picture_of(self, path: Path, folders: Mapping[str, str] | None = None) -> Path:
        """Find the image that has the name of a label file or mask.

        Args:
            path: The label file.
            folders: Names of folders of label files, in lower case, with those of images, to decide between several.

        Raises:
            DataError: There is no such image, or several.
        """
        found = self._by_stem.get(path.stem, [])
        parts = list(path.relative_to(self.root).parts[:-1])
        for place in reversed(range(len(parts))):
            if folders and parts[place].lower() in folders:
                parts[place] = folders[parts[place].lower()]
                break
        for more in (
            lambda one: list(one.relative_to(self.pool).parts[:-1]) == parts,
            lambda one: self.part(one) == self.part(path),
            lambda one: one.parent.name == path.parent.name,
        ):
            if len(found) > 1:
                found = [one for one in found if more(one)] or found
        if not found:
            raise self._nowhere(f"of the name {path.stem!a}")
        if len(found) > 1:
            raise DataError(f"its image may be any of {few([self.shown(one) for one in found])}")
        return found[0]

    def _nowhere(self, which: str) -> DataError:
        hint = "" if self._has_own_pool else "; job.images=DIR names the folder that holds the images"
        return DataError(f"there is no image {which} in {self.pool}{hint}")

    def leave_out(self, masks: Collection[Path]) -> None:
        """Take pictures that are masks from the images."""
        gone = set(masks)
        self.pictures = [path for path in self.pictures if path not in gone]
        for index in (self._by_name, self._by_stem):
            for key, paths in index.items():
                index[key] = [path for path in paths if path not in gone]


def _joined(folder: Sequence[str], parts: Sequence[str]) -> list[str] | None:
    """A path in a folder, without `..`; None if it leads outside."""
    joined = list(folder)
    for part in parts:
        if part == "..":
            if not joined:
                return None
            joined.pop()
        else:
            joined.append(part)
    return joined


def _parse(path: Path, shown: str) -> Any:
    def refuse(name: str) -> NoReturn:
        raise ValueError(f"it holds {name}")

    try:
        return json.loads(read_text(path, _LARGEST_JSON), parse_constant=refuse)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown}: is not JSON ({' '.join(str(error).split())[:100]})") from None
