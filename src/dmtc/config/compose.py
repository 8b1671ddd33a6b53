"""From overrides to a config: what Hydra puts together of the YAML files and of what was typed."""

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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmtc.config.folder import config_folder, forget_loaded, last_loaded
from dmtc.config.hydra_errors import one_line
from dmtc.config.methods import with_method
from dmtc.config.overrides import in_hydras_terms, literal
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError, UserError

_LONGEST = 180
"""Bytes of a folder's name: systems allow 255, and somebody may want to add to it."""


def folder_name(overrides: str) -> str:
    """A folder name for a job of a sweep: its overrides, without slashes, and not longer than systems allow.

    Different overrides have different names: where slashes were taken out, or an end was cut off, a hash tells them
    apart. Only `split.ratio=1/8` goes without, as nothing else is written `split.ratio=1-8`.
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
    """Name of the folder of the sweep that the job at hand belongs to; None outside of sweeps."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().runtime.output_dir).parent.name


OmegaConf.register_new_resolver("dmtc.folder", folder_name, replace=True)
OmegaConf.register_new_resolver("dmtc.sweep", sweep_name, replace=True)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a config as the command line does.

    Args:
        overrides: What would follow `python run.py`, for example `["dataset=synthetic", "split.ratio=1/8"]`.

    Returns:
        The config; its values may be changed before it goes to `dmtc.train`.

    Raises:
        ConfigError: An override does not fit.

    Examples:
        >>> compose(["split.ratio=1/20"]).split.ratio
        '1/20'
    """
    GlobalHydra.instance().clear()
    forget_loaded()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
            return hydra_compose("config", overrides=[in_hydras_terms(literal(one)) for one in with_method(overrides)])
    except Exception as error:
        raise fault_of_composing(error) from error


def fault_of_composing(error: Exception) -> UserError:
    """What went wrong while a config was put together of files and overrides, where nothing else is at work.

    Hydra and its parser fail by errors of many kinds: ValueError of odd defaults, IndexError of an empty override.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, RecursionError):
        return ConfigError(f"{last_loaded()}: its defaults lead in a circle")
    text = one_line(error, known_keys)
    if text.startswith("Config group override must be"):
        text = "a part such as method or dataset is chosen by a name, as in method=dmt; no null, number or mapping"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return ConfigError(text)
    return ConfigError(f"the config cannot be put together: {text or type(error).__name__}")


def known_keys(config: Mapping[str, Any] | None = None, prefix: str = "") -> list[str]:
    """Dotted names of every setting; by default of those that hold when nothing is overridden."""
    keys = []
    for key, value in (compose() if config is None else config).items():
        inner = isinstance(value, Mapping | DictConfig)
        keys += known_keys(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return keys


def resolved(cfg: DictConfig | Mapping[str, Any]) -> Config:
    """Plain dictionaries. What is plain already is taken as it is written: a class may be called `${x}`.

    Raises:
        ConfigError: An interpolation leads nowhere.
    """
    if not isinstance(cfg, DictConfig):
        return {key: value for key, value in deepcopy(dict(cfg)).items() if key != "hydra"}
    try:
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items() if key != "hydra"}
