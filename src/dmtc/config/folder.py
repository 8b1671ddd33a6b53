"""Reads the YAML files of `conf/` and `--config-dir` for Hydra and reports a faulty file in one line.

Keeps track of the files that went into a config, to report where an unused setting came from.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.yaml_files import parse_yaml, read_text


def config_folder() -> Path:
    """Folder of the YAML files: `conf` in a checkout, or inside the installed package."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file that went into a config.

    Attributes:
        path: The file.
        group: The file's group, such as "experiment"; "" for the main file.
        package: The package that its header declares (`# @package ...`), or None.
        content: What it says.
    """

    path: str
    group: str
    package: str | None
    content: Mapping[str, Any]


_loaded: list[LoadedFile] = []
_picks_only: set[str] = set()


def loaded_files() -> list[LoadedFile]:
    """The files read since `forget_loaded`, in order."""
    return list(_loaded)


def remember_loaded(files: Sequence[LoadedFile]) -> None:
    """Set the list of loaded files, after other configs were composed in between."""
    _loaded[:] = files


@contextmanager
def without_values(groups: Collection[str]) -> Iterator[None]:
    """Within it, files of these groups pick parts, and set nothing."""
    _picks_only.update(groups)
    try:
        yield
    finally:
        _picks_only.clear()


def forget_loaded() -> None:
    """Clear the list of loaded files before a new config is composed."""
    _loaded.clear()


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's own source, with a check of the file first. It keeps Hydra's class name, so that it replaces Hydra's."""

    def load_config(self, config_path: str) -> ConfigResult:
        """See `ConfigSource.load_config`.

        Raises:
            ConfigError: The file cannot be read or holds no settings.
        """
        path = os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path)))
        try:
            text = read_text(path)
        except DataError as error:
            raise ConfigError(str(error)) from None
        content, values = _parsed(text, path)
        package = re.search(r"^\s*#\s*@package\s+(\S+)", text[:512], re.MULTILINE)
        group, _, _ = config_path.removesuffix(".yaml").rpartition("/")
        if config_path.removesuffix(".yaml") == "config":
            forget_loaded()  # another job of a sweep
        _loaded.append(LoadedFile(path, group, package[1] if package else None, content))
        if group in _picks_only:
            values = {key: value for key, value in values.items() if key == "defaults"}
        return ConfigResult(
            config=OmegaConf.create(values),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header=ConfigSource._get_header_dict(text[:512]),
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The choices and groups of a group, for help, completion and messages; `_base.yaml` is part of choices."""
        return [name for name in super().list(config_path, results_filter) if not name.startswith("_")]


# Works before or after Hydra discovers its plugins: discovery does not replace a source of the same name.
SourcesRegistry.instance().types["file"] = FileConfigSource


def last_loaded() -> str:
    """The file read last; if defaults form a circle, it is part of that circle."""
    return _loaded[-1].path if _loaded else "the config"


@lru_cache(maxsize=1024)  # most of the time of composing, and a config may be composed several times
def _parsed(text: str, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says, as we read it and as OmegaConf does; callers change neither.

    Raises:
        ConfigError: It holds no settings.
    """
    try:
        content = parse_yaml(text, path)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path}:1: a config file holds `key: value` lines, but this {_described(content)}")
    odd = [key for key in content or {} if not isinstance(key, str)]
    if odd:
        raise ConfigError(f"{path}: the key {odd[0]!r} is not a setting name")
    return content or {}, _named(OmegaConf.to_container(OmegaConf.load(StringIO(text))), content)


def _named(values: Any, names: Any) -> Any:
    """The values as OmegaConf reads them, under the names of the keys as `parse_yaml` reads them: `on` is no truth."""
    if isinstance(values, dict) and isinstance(names, dict):
        pairs = zip(values.values(), names.items(), strict=True)
        return {name: _named(value, inner) for value, (name, inner) in pairs}
    if isinstance(values, list) and isinstance(names, list):
        return [_named(value, name) for value, name in zip(values, names, strict=True)]
    return values


def _described(content: Any) -> str:
    return "is a list" if isinstance(content, list) else f"is {str(content)[:40]!r}"
