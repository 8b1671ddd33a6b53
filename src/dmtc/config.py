"""From overrides to a checked, plain config."""

import hashlib
import importlib
import os
import re
import sys
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

from dmtc.config_files import LoadedFile, config_folder, forget_loaded, last_loaded, loaded_files
from dmtc.config_schema import are_names, has_parts, shape_faults, unknown_fault, unknown_keys
from dmtc.errors import ConfigError, DataError, UserError
from dmtc.hydra_errors import one_line
from dmtc.overrides import in_hydras_terms, literal

Config = dict[str, Any]


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
            return hydra_compose("config", overrides=[in_hydras_terms(literal(override)) for override in overrides])
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
        text = "a part such as loss, dataset or model is chosen by a name, as in loss=dmt; no null, number or mapping"
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


def settle(cfg: DictConfig | Mapping[str, Any]) -> Config:
    """Resolve a config into plain dictionaries, import the user's own modules, and check everything.

    Raises:
        ConfigError: All faults in one message.
    """
    plain = resolved(cfg)
    if unknown := unknown_keys(plain):
        overrides, files = _sources(cfg)
        raise ConfigError("; ".join(unknown_fault(key, known_keys(), overrides, files) for key in unknown))
    import_modules(plain.get("imports", ()))
    check(plain)
    return plain


def settle_stored(config: Config, path: Path) -> Config:
    """As `settle`, of the config of an earlier run, which may lack what there was not then.

    Args:
        config: As read; it has its parts (`shape_faults`).
        path: Its file, for messages.

    Raises:
        ConfigError: A module of the user's is missing.
        DataError: It is damaged.
    """
    import_modules(config.get("imports", ()))
    try:
        check(config)
    except ConfigError as error:
        raise DataError(f"{path} is damaged, or of another version of dmtc: {error}") from None
    return config


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


def _sources(cfg: DictConfig | Mapping[str, Any]) -> tuple[list[str], list[LoadedFile]]:
    """The overrides and files of the config at hand, as far as they are known."""
    if not isinstance(cfg, DictConfig):
        return [], []
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return overrides, loaded_files()


def import_modules(names: Any) -> None:
    """Import the modules of `imports=[...]`, looked up from the working directory too.

    Raises:
        ConfigError: No such module. A fault inside a module is shown as it is.
    """
    if not are_names(names):
        return  # `check` tells
    if names and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"imports: {name!r} is no name of a module, such as my_losses")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0] and error.name != name:
                raise
            raise ConfigError(f"imports: no module {name!r} in the working directory or the environment") from None


def check(config: Config) -> None:
    """Hold every part of a config against the component that it names.

    Raises:
        ConfigError: All faults in one message.
    """
    # Imported here: checking needs every component, composing (and so `--help`) none.
    from dmtc.batches import on_error_faults
    from dmtc.data import DATASETS
    from dmtc.engine.optimization import OPTIMIZERS, RATES
    from dmtc.engine.terms import term_faults
    from dmtc.evaluation import evaluation_faults
    from dmtc.jobs import JOBS
    from dmtc.models import model_faults
    from dmtc.registry import raise_faults
    from dmtc.schedule import schedule_faults
    from dmtc.settings import run_faults
    from dmtc.splits import SPLITS
    from dmtc.tracking import LOGGERS

    faults = shape_faults(config)
    if not has_parts(config):
        raise_faults(faults)
    dataset, model, schedule = config["dataset"], config["model"], config["schedule"]
    faults += DATASETS.faults(without(dataset, "augment", "on_error"), "dataset")
    faults += on_error_faults(dataset)
    faults += _augment_faults(dataset.get("augment") or {})
    faults += SPLITS.faults(config["split"], "split")
    faults += model_faults(model, "model")
    faults += _own_model_faults(config)
    faults += _weights_faults(model.get("weights"))
    faults += _normalization_faults(model.get("normalization"))
    faults += term_faults(config["loss"])
    faults += schedule_faults(schedule)
    faults += OPTIMIZERS.faults(schedule.get("optimizer") or {}, "schedule.optimizer")
    faults += RATES.faults(schedule.get("rate") or {}, "schedule.rate")
    if config.get("evaluation"):  # job=evaluate leaves it open: by default it takes the run's own
        faults += evaluation_faults(config["evaluation"], "evaluation")
    faults += run_faults(config["run"])
    faults += JOBS.faults(config["job"], "job")
    logger = config.get("logger")
    for name, spec in (logger if isinstance(logger, Mapping) else {}).items():
        faults += LOGGERS.faults(spec, f"logger.{name}")
    raise_faults(faults)


def network_spec(config: Config, network: str) -> tuple[Mapping[str, Any], str]:
    """What a network is built from, and where that stands in the config.

    Args:
        config: As `settle` returns it, or as an earlier run left it.
        network: Its letter.

    Returns:
        `model_b` and its name, if there is one for network b; otherwise `model`, which all others share.
    """
    where = f"model_{network}"
    own = config.get(where)
    return (config["model"], "model") if own is None else (own, where)


def refuse_networks(config: Config, trained: Sequence[str]) -> None:
    """Refuse options of networks that no phase trains. Those of network b may stay beside a method of one network.

    Raises:
        ConfigError: There are some.
    """
    model = config["model"]
    options = {key: key.removeprefix("model_") for key in config if key.startswith("model_")}
    options |= {f"model.{part}.{letter}": letter for part in ("weights", "normalization") for letter in model[part]}
    idle = [option for option, letter in options.items() if letter not in (*trained, "a", "b")]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: there is no network {', '.join(sorted({options[one] for one in idle}))}; the plan"
            f" trains {' and '.join(trained)}"
        )


def without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A copy of a mapping without some of its keys."""
    return {key: value for key, value in mapping.items() if key not in keys}


def _augment_faults(augment: Mapping[str, Any]) -> list[str]:
    from dmtc.data.augment import Augment
    from dmtc.registry import argument_faults

    if faults := argument_faults(Augment, augment, "dataset.augment"):
        return faults
    try:
        Augment(**augment)
    except ConfigError as error:
        return [str(error)]
    return []


def _own_model_faults(config: Config) -> list[str]:
    from dmtc.models import model_faults

    faults = []
    for where, spec in config.items():
        if not where.startswith("model_") or spec is None:
            continue
        if not isinstance(spec, Mapping):
            faults.append(f"{where} should be a choice such as {where}=dpt, or null, but is {spec!r}")
            continue
        faults += model_faults(spec, where)
        letter = where.removeprefix("model_")
        faults += [
            f"{where}.{key} is given as model.{key}.{letter}" for key in ("weights", "normalization") if key in spec
        ]
    return faults


def _weights_faults(weights: Any) -> list[str]:
    if not isinstance(weights, Mapping):
        return [f"model.weights should name the starting weights of each network, but is {weights!r}"]
    return [
        f"model.weights.{network} should be null, imagenet or a file, but is {source!r}"
        for network, source in weights.items()
        if not (source is None or isinstance(source, str))
    ]


def _normalization_faults(normalization: Any) -> list[str]:
    from dmtc.models.normalization import NORMALIZATIONS

    if not isinstance(normalization, Mapping):
        return [f"model.normalization should name the rule of each network's weights, but is {normalization!r}"]
    known = ["null", *NORMALIZATIONS]
    return [
        f"model.normalization.{network} should be one of {', '.join(known)}, but is {rule!r}"
        for network, rule in normalization.items()
        if not (rule is None or (isinstance(rule, str) and rule in NORMALIZATIONS))
    ]
