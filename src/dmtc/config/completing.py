"""From a few settings in a dictionary to a whole config, as the command line completes a few overrides."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dmtc.config.compose import compose
from dmtc.config.folder import config_folder
from dmtc.config.schema import shape_faults
from dmtc.core.errors import ConfigError


def whole(cfg: DictConfig | Mapping[str, Any] | Sequence[str]) -> DictConfig | Mapping[str, Any]:
    """The config of what `dmtc.train` was given: a config, a few settings, or overrides.

    Raises:
        ConfigError: It is none of these, or an override is invalid.
    """
    if isinstance(cfg, DictConfig):
        return cfg
    if isinstance(cfg, Mapping):
        return completed(cfg) if is_partial(cfg) else cfg
    if isinstance(cfg, str) or not all(isinstance(one, str) for one in cfg):
        raise ConfigError(f'train takes a list of overrides, such as ["method=dmt"], or a config, but got {cfg!r}')
    return compose(cfg)


def is_partial(config: Mapping[str, Any]) -> bool:
    """Whether a mapping leaves out parts that every config has."""
    return any(fault.endswith(" is missing") for fault in shape_faults(config))


def completed(settings: Mapping[str, Any]) -> DictConfig:
    """Compose the config of a few settings; everything else is the default of what they choose.

    Args:
        settings: Nested as in a config, or with dotted keys. The name of a group's choice chooses it:
            `{"method": "dmt", "model": {"backbone": "resnet50"}, "split": {"ratio": "1/8"}, "seed": 1}`. So does
            `name` among the settings of a group: `{"dataset": {"name": "folder", "root": "pictures"}}`.

    Raises:
        ConfigError: There is no such choice.

    Examples:
        >>> cfg = completed({"method": "dmt", "schedule": {"rounds": {"epochs": 2}}, "split.ratio": "1/20"})
        >>> cfg.loss.name, cfg.schedule.rounds.epochs, cfg.split.ratio
        ('dmt', 2, '1/20')
    """
    for key in settings:
        if not isinstance(key, str):
            raise ConfigError(f"{key!r}: the keys of a config are names, such as method")
    choices, values = [], []
    for path, value in _read(settings, ()):
        if "/".join(path) in _groups() and (value is None or isinstance(value, str)):
            choices.append(f"{'/'.join(path)}={'null' if value is None else value}")
        else:
            values.append((".".join(path), value))
    cfg = compose(choices)
    OmegaConf.set_struct(cfg, False)
    for key, value in values:
        OmegaConf.update(cfg, key, _literal(value), merge=False, force_add=True)
    return cfg


def _read(settings: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Choices of groups and single values, with the parts of their keys."""
    for key, value in settings.items():
        path = (*above, *str(key).replace("/", ".").split("."))
        if not isinstance(value, Mapping) or not value:
            yield path, value
            continue
        group, name = "/".join(path), value.get("name")
        if isinstance(name, str) and (config_folder() / group / f"{name}.yaml").is_file():
            yield path, name
        yield from _read(value, path)


def _groups() -> set[str]:
    folder = config_folder()
    return {path.parent.relative_to(folder).as_posix() for path in folder.glob("*/**/*.yaml")}


def _literal(value: Any) -> Any:
    """A value that means itself: `${x}` in a text is no interpolation."""
    if isinstance(value, str | Path):
        return str(value).replace("${", "\\${")
    if isinstance(value, list | tuple):
        return [_literal(one) for one in value]
    return value
