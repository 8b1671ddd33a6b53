"""Composes a config from YAML files and overrides with Hydra."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dmtc.config.folder import config_folder, forget_loaded, last_loaded
from dmtc.config.hydra_errors import one_line
from dmtc.config.hyphens import without_hyphens
from dmtc.config.leftovers import drop_leftovers
from dmtc.config.methods import with_method
from dmtc.config.overrides import in_hydras_terms, literal
from dmtc.config.schema import Config
from dmtc.core.command import command
from dmtc.core.errors import ConfigError, UserError

_LONGEST = 180
"""Maximum bytes of a folder name: systems allow 255, and users may want to append to it."""


def folder_name(overrides: str) -> str:
    """Folder name for a sweep job: its overrides without slashes, cut to a length that file systems allow.

    Different overrides give different names: if slashes were replaced or the name was cut, a hash is appended. Only
    `split.ratio=1/8` needs no hash, because nothing else is written `split.ratio=1-8`.
    """
    name = re.sub(r"(?<=split\.ratio=)(\d+)/(\d+)(?=,|$)", r"\1-\2", overrides)
    ambiguous = "/" in name or re.search(r"split\.ratio=\d+-\d", overrides)
    name = name.replace("/", "-") or "defaults"
    content = os.fsencode(name)
    if not ambiguous and len(content) <= _LONGEST:
        return name
    digest = hashlib.sha256(os.fsencode(overrides)).hexdigest()[:12]
    return f"{content[: _LONGEST - 13].decode(errors='ignore')}-{digest}"


def sweep_name() -> str | None:
    """Folder name of the current job's sweep; None outside of a sweep."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().runtime.output_dir).parent.name


OmegaConf.register_new_resolver("dmtc.folder", folder_name, replace=True)
OmegaConf.register_new_resolver("dmtc.sweep", sweep_name, replace=True)
OmegaConf.register_new_resolver("dmtc.command", command, replace=True)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a config as the command line does.

    Args:
        overrides: What you would type after `dmtc`, for example `["dataset=synthetic", "split.ratio=1/8"]`.

    Returns:
        The config; you may change its values before passing it to `dmtc.train`.

    Raises:
        ConfigError: An override is invalid.

    Examples:
        >>> compose(["split.ratio=1/20"]).split.ratio
        '1/20'
    """
    GlobalHydra.instance().clear()
    forget_loaded()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
            given = [in_hydras_terms(literal(one)) for one in with_method(without_hyphens(overrides))]
            cfg = hydra_compose("config", overrides=given, return_hydra_config=True)
            choices = cfg.hydra.runtime.choices
            with open_dict(cfg):
                del cfg["hydra"]
            drop_leftovers(cfg, given, choices)
        return cfg
    except Exception as error:
        raise fault_of_composing(error) from error


def fault_of_composing(error: Exception) -> UserError:
    """Turn an exception raised during composition into a `UserError`.

    Hydra and its parser raise many kinds of errors: ValueError for odd defaults, IndexError for an empty override.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, RecursionError):
        return ConfigError(f"{last_loaded()}: its defaults form a circle")
    text = one_line(error, known_keys)
    if text.startswith("Config group override must be"):
        text = "a part such as method or dataset takes a name, as in method=dmt, not null, a number or a mapping"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return ConfigError(text)
    return ConfigError(f"the config cannot be composed: {text or type(error).__name__}")


def known_keys(config: Mapping[str, Any] | None = None, prefix: str = "") -> list[str]:
    """Dotted names of every setting of a config; by default, of the config without overrides."""
    keys = []
    for key, value in (compose() if config is None else config).items():
        inner = isinstance(value, Mapping | DictConfig)
        keys += known_keys(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return keys


def resolved(cfg: DictConfig | Mapping[str, Any]) -> Config:
    """Resolve a config to plain dictionaries.

    A plain mapping is copied literally, without interpolation: a class may be called `${x}`.

    Raises:
        ConfigError: An interpolation has no target.
    """
    if not isinstance(cfg, DictConfig):
        return {key: value for key, value in deepcopy(dict(cfg)).items() if key != "hydra"}
    try:
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items() if key != "hydra"}
