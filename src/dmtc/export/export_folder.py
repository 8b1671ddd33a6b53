"""The folder of an export: files of one or more formats, possibly among files of the user."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.core.files import WORK, adding_to_folder, read_regular, remove_unfinished_of, replacing_folder
from dmtc.core.ownership import Manifest, require_folder
from dmtc.export.segmenter import CARD, CONFIG, HASHES

RECORD = "export.json"
"""Record of what was exported, how, and how much it differs from the networks; earlier exports in brief."""

_SHARED = (CONFIG, CARD, RECORD)
_BESIDE = ".data"
"""Suffix of a separate file for the weights of a large model."""


class ExportFolder:
    """A folder to export into.

    Args:
        path: The folder; it need not exist.
        format: The format to write.
        file: Name of the format's main file.
    """

    def __init__(self, path: Path, format: str, file: str) -> None:
        self.path = path
        self._format = format
        self._file = file
        self._manifest = Manifest(self.path, "export", "output")

    def refuse_foreign(self) -> None:
        """Refuse to overwrite files that do not belong to an export.

        Raises:
            ConfigError: There are such files, or the path is not a folder.
        """
        require_folder(self.path, "output")
        remove_unfinished_of(self.path.absolute())  # left by a killed export
        if not self.path.is_dir():
            return
        remove_unfinished_of(self.path / WORK)
        there = sorted(path.name for path in self.path.iterdir())
        if there and not self._manifest.exists():
            raise ConfigError(
                f"output={self.path} holds other files ({there[0]}); choose a folder that is new or of an earlier"
                " export"
            )
        self._manifest.refuse_foreign((self._file, self._file + _BESIDE, *_SHARED))

    def formats_beside(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Records of other formats in the folder, which stay and share the description of the new files.

        Raises:
            ConfigError: They are of other networks, so the new description would not fit them.
        """
        record = _read(self.path / RECORD)
        records = {**record.get("beside", {}), record.get("format"): record} if record else {}
        found = {name: _brief(one) for name, one in records.items() if name != self._format and self._is_there(one)}
        there = _read(self.path / CONFIG)
        there.pop(HASHES, None)
        if found and json.dumps(there) != json.dumps(description):  # as text, because NaN does not equal itself
            others = " and ".join(sorted(found))
            raise ConfigError(
                f"output={self.path} holds format={others} of other networks, or exported otherwise; choose another"
                " folder"
            )
        return found

    def hashes_beside(self, records: Mapping[str, Any]) -> dict[str, str]:
        """Known SHA-256 of the files of other formats that stay."""
        known, files = _read(self.path / CONFIG).get(HASHES), [record["file"] for record in records.values()]
        if not isinstance(known, dict):
            return {}
        return {name: digest for name, digest in known.items() if name in (*files, *(f + _BESIDE for f in files))}

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder to write the files into; they move to their place once all are written.

        Raises:
            OSError: The files cannot be written.
        """
        if not self.path.exists():
            with replacing_folder(self.path) as new:
                yield new
                Manifest(new, "export", "output").record(os.listdir(new))
            return
        with adding_to_folder(self.path) as new:
            yield new
            names = sorted(os.listdir(new), key=lambda name: name == RECORD)  # last: it marks the export as complete
            self._manifest.record(names)
            (self.path / RECORD).unlink(missing_ok=True)
            for path in self._manifest.own([self._file + _BESIDE]):
                path.unlink()
            for name in names:
                os.replace(new / name, self.path / name)
            self._manifest.forget_gone()

    def _is_there(self, record: Any) -> bool:
        file = record.get("file") if isinstance(record, dict) else None
        if not isinstance(file, str) or Path(file).name != file:
            return False
        return bool(self._manifest.own([file]))


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    size = record.get("size")
    valid = isinstance(size, list) and len(size) == 2 and all(isinstance(one, int) for one in size)
    return {key: value for key, value in record.items() if key != "beside"} | {"size": size if valid else None}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
