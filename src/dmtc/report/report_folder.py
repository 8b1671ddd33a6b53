"""The folder of a report: its files are collected in memory and written together, replacing only earlier reports."""

import contextlib
import os
import re
from pathlib import Path
from typing import Literal

from dmtc.core.errors import ConfigError
from dmtc.core.files import remove_empty, remove_unfinished, write_atomically
from dmtc.core.ownership import Manifest, require_folder
from dmtc.run.beginning import refuse_own_parts
from dmtc.run.folder import RunFolder

PAGE, FIGURES, PICTURES = "report.html", "report", "pictures"

_REPLACED = re.compile(rf"({FIGURES}|{PICTURES})/[^/]+")


class ReportFolder:
    """A folder to write a report to.

    Args:
        path: The folder; it need not exist.
        kind: Whether the report is about one run or many.
        run: The run; None for many.
    """

    def __init__(self, path: Path, kind: Literal["report", "sweep-report"], run: RunFolder | None = None) -> None:
        self.path = path
        self._run = run
        self._manifest = Manifest(path, kind, "job.out")
        self._new: list[str] = []
        self._files: dict[str, bytes | str] = {}

    def refuse_foreign(self) -> None:
        """Refuse a folder that the page cannot be written to, before anything is drawn.

        Raises:
            ConfigError: It is not a folder, belongs to another run, or contains another page of that name.
        """
        require_folder(self.path, "job.out")
        own = self._run is not None and self._is_of_run()
        if not own and RunFolder(self.path).config_path.is_file():
            whose = "a run" if self._run is None else "another run"
            raise ConfigError(f"{self.path} is the folder of {whose} and keeps that run's report; choose job.out=DIR")
        for folder in (FIGURES, PICTURES):
            require_folder(self.path / folder, "job.out")
        if not own and self._run is not None:
            refuse_own_parts(self._run, self.path, "job.out")
        self._manifest.refuse_foreign([PAGE, f"{FIGURES}/validation.json"])

    def claim(self, name: str) -> Path:
        """The path of a file that is written immediately; it belongs to the report from now on."""
        if not os.path.lexists(self.path / name):
            self._new.append(name)
        self._manifest.record([name])
        self.add(name, b"")
        return self.path / name

    def add(self, name: str, content: bytes | str) -> None:
        """Add a file."""
        self._files[name] = content

    def write(self) -> Path:
        """Write all files, delete those of an earlier report that this one does not have, and return the page.

        Raises:
            ConfigError: A file of that name exists that no report has written.
            OSError: The files cannot be written.
        """
        self._manifest.refuse_foreign(sorted(self._files))
        for folder in (FIGURES, PICTURES):
            remove_unfinished(self.path / folder)  # by a command that was killed
        self._new += [name for name in self._files if not os.path.lexists(self.path / name)]
        try:
            self._manifest.record(self._files)
            for name, content in sorted(self._files.items(), key=lambda file: file[0] == PAGE):
                if content:
                    write_atomically(self.path / name, content)
        except BaseException:
            self._undo()
            raise
        for name in self._manifest.recorded() - self._files.keys():
            if _REPLACED.fullmatch(name):
                for path in self._manifest.own([name]):
                    path.unlink()
        self._manifest.forget_gone()
        return self.path / PAGE

    def _undo(self) -> None:
        """Delete new files, as the page that shows them was not written."""
        with contextlib.suppress(OSError):
            for name in self._new:
                (self.path / name).unlink(missing_ok=True)
            self._manifest.forget_gone()
        remove_empty([self.path / FIGURES, self.path / PICTURES, self.path])

    def _is_of_run(self) -> bool:
        return self._run is not None and self.path.exists() and self.path.samefile(self._run.path)
