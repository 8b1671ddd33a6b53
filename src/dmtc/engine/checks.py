"""Checks a config against the components it names before building any of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dmtc.batches import on_error_faults
from dmtc.batches.mixing import MIXERS, NoMixing
from dmtc.batches.views import build_views, views_faults
from dmtc.config.compose import known_keys, resolved
from dmtc.config.folder import LoadedFile, loaded_files
from dmtc.config.imports import import_modules
from dmtc.config.methods import method_faults
from dmtc.config.schema import Config, has_parts, shape_faults, unknown_fault, unknown_keys, without
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.registry import Registry, argument_faults, raise_faults, unknown
from dmtc.data import DATASETS
from dmtc.data.augment import Augment
from dmtc.evaluation import METRICS, evaluation_faults
from dmtc.losses.base import inputs_of
from dmtc.losses.terms import Term, build_terms, needs_correlation, term_faults
from dmtc.machine.settings import run_faults
from dmtc.models import model_faults
from dmtc.models.normalization import NORMALIZATIONS
from dmtc.pseudo.teachers import TEACHERS
from dmtc.schedule import OPTIMIZERS, RATES
from dmtc.schedule.plans import schedule_faults
from dmtc.splits import SPLITS
from dmtc.tracking import LOGGERS


def settle(cfg: DictConfig | Mapping[str, Any], jobs: Registry[Any] | None = None) -> Config:
    """Resolve a config into plain dictionaries, import the user's modules, and check everything.

    Args:
        cfg: From `compose`.
        jobs: The known jobs; None skips the check of `job`.

    Raises:
        ConfigError: All faults in one message.
    """
    plain = resolved(cfg)
    if unknown := unknown_keys(plain):
        overrides, files = _sources(cfg)
        raise ConfigError("; ".join(unknown_fault(key, known_keys(), overrides, files) for key in unknown))
    for file in _sources(cfg)[1]:
        if file.group == "method" and file.package is None:
            raise ConfigError(f"{file.path}: the first line of a method should be # @package _global_")
    import_modules(plain.get("imports", ()))
    check(plain, jobs)
    return plain


def settle_stored(config: Config, path: Path) -> Config:
    """Like `settle`, for the config of an earlier run.

    Args:
        config: As read, with all its parts (see `shape_faults`).
        path: The config file, for error messages.

    Raises:
        ConfigError: One of the user's modules is missing.
        DataError: The config is damaged, or names a component of the user's that is not registered.
    """
    import_modules(config["imports"])
    try:
        check(config)
    except ConfigError as error:
        needs_module = re.search(r": unknown (?!option\b)", str(error)) is not None
        own = ", or needs a module of yours (import it first, or imports=[MODULE])" if needs_module else ""
        raise DataError(f"{path} is damaged, or of another version of dmtc{own}: {error}") from None
    return config


def _sources(cfg: DictConfig | Mapping[str, Any]) -> tuple[list[str], list[LoadedFile]]:
    """The overrides and files behind a config, as far as they are known."""
    if not isinstance(cfg, DictConfig):
        return [], []
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return overrides, loaded_files()


def check(config: Config, jobs: Registry[Any] | None = None) -> None:
    """Check every part of a config against the component it names.

    Args:
        config: Plain and resolved.
        jobs: See `settle`.

    Raises:
        ConfigError: All faults in one message.
    """
    faults = shape_faults(config)
    if not has_parts(config):
        raise_faults(faults)
    dataset, model, schedule = config["dataset"], config["model"], config["schedule"]
    faults += DATASETS.faults(without(dataset, "augment", "on_error"), "dataset")
    faults += on_error_faults(dataset)
    faults += _augment_faults(dataset.get("augment") or {})
    faults += SPLITS.faults(config["split"], "split")
    wrong_terms = term_faults(config["loss"])
    terms = [] if wrong_terms else build_terms(config["loss"])
    faults += model_faults(model, "model", needs_correlation(terms))
    faults += _own_model_faults(config, needs_correlation(terms))
    faults += _weights_faults(model.get("weights"))
    faults += _normalization_faults(model.get("normalization"))
    faults += method_faults(config["method"])
    faults += wrong_terms
    faults += schedule_faults(schedule)
    faults += [f"schedule.{key} is missing" for key in ("limit_steps", "warmup") if key not in schedule]
    faults += OPTIMIZERS.faults(schedule.get("optimizer") or {}, "schedule.optimizer")
    faults += RATES.faults(schedule.get("rate") or {}, "schedule.rate")
    faults += _labelling_faults(config, terms)
    if config.get("evaluation"):  # empty for job=evaluate, which defaults to the run's own
        faults += evaluation_faults(config["evaluation"], "evaluation") or _monitor_faults(config)
    faults += run_faults(config["run"])
    if jobs is not None:
        faults += jobs.faults(config["job"], "job")
    logger = config.get("logger")
    for name, spec in (logger if isinstance(logger, Mapping) else {}).items():
        faults += LOGGERS.faults(spec, f"logger.{name}")
    raise_faults(faults)


def _monitor_faults(config: Config) -> list[str]:
    """A fault if the metric that `best` follows is not scored."""
    monitor, scored = config["run"].get("monitor", "miou"), list(config["evaluation"].get("metrics", ()))
    if not isinstance(monitor, str) or monitor in ("miou", *scored):  # `run_faults` says what type it should be
        return []
    if monitor in METRICS.names():
        return [
            f"run.monitor={monitor} is not scored: add it, as in evaluation.metrics=[{','.join([*scored, monitor])}]"
        ]
    return [f"run.monitor: unknown metric {unknown(monitor, ['miou', *METRICS.names()])}"]


def _labelling_faults(config: Config, terms: Sequence[Term]) -> list[str]:
    """Faults of who labels, of the views and of their mixing, each of them and together, and with the terms."""
    teacher, mixing = config["teacher"], config["mixing"]
    faults = TEACHERS.faults(teacher, "teacher") + MIXERS.faults(mixing, "mixing") + views_faults(config["views"])
    for registry, spec, where in ((TEACHERS, teacher, "teacher"), (MIXERS, mixing, "mixing")):
        if not registry.faults(spec, where):
            try:
                registry.build(spec, where, num_classes=2)
            except ConfigError as error:
                faults.append(str(error))
    return faults or [*_own_pass_faults(config, terms), *_spreading_faults(config, terms)]


def _own_pass_faults(config: Config, terms: Sequence[Term]) -> list[str]:
    """A fault if labels are to come from the student's own pass, but it has none over all weak views."""
    teacher = TEACHERS.build(config["teacher"], "teacher")
    mixes = not isinstance(MIXERS.build(config["mixing"], "mixing", num_classes=2), NoMixing)
    views = build_views(config["views"], mixes)
    if not teacher.in_step or teacher.runs != "student":
        return []
    if isinstance(parts := config["run"].get("accumulate"), int) and parts > 1:
        way = "run.gradient_checkpointing=true needs less memory, too"
        if not any(_spreads(term) for term in terms):
            way = "teacher.mode=eval has its own pass"
        return [
            f"run.accumulate should be 1 with teacher.mode=student, but is {parts}: labels come from the pass over a"
            f" whole batch; {way}"
        ]
    if views.shows("weak") or views.strong == 0:
        return []
    return [
        f"teacher={config['teacher']['name']} labels by the student's pass over weak views, but views.passes has none:"
        " choose views=strong_apart, or teacher.mode=eval for a separate pass"
    ]


def _spreading_faults(config: Config, terms: Sequence[Term]) -> list[str]:
    """A fault if terms spread labels, but these do not come from the student's own pass, which has the regions."""
    teacher = TEACHERS.build(config["teacher"], "teacher")
    stages = ("rounds", "online") if teacher.in_step else ("rounds",)
    spreading = [
        f"loss.{term.name}" for term in terms if _spreads(term) and any(getattr(term.weight, stage) for stage in stages)
    ]
    if not spreading or teacher.runs == "student":
        return []
    told = f"teacher={config['teacher']['name']} labels {'by another pass' if teacher.in_step else 'before the step'}"
    off = " ".join(f"{name}=null" for name in spreading)
    return [
        f"{' and '.join(spreading)} spread labels over regions of the student's own pass, but {told}:"
        f" choose teacher=self or teacher=peer with teacher.mode=student, or turn off {off}"
    ]


def _spreads(term: Term) -> bool:
    return "regions" in inputs_of(term.loss)


def _augment_faults(augment: Mapping[str, Any]) -> list[str]:
    if faults := argument_faults(Augment, augment, "dataset.augment"):
        return faults
    try:
        Augment(**augment)
    except ConfigError as error:
        return [str(error)]
    return []


def _own_model_faults(config: Config, correlation: bool) -> list[str]:
    faults = []
    for where, spec in config.items():
        if not where.startswith("model_") or spec is None:
            continue
        if not isinstance(spec, Mapping):
            faults.append(f"{where} should be the name of a model, or null, but is {spec!r}")
            continue
        faults += model_faults(spec, where, correlation)
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
    if not isinstance(normalization, Mapping):
        return [f"model.normalization should name the rule of each network's weights, but is {normalization!r}"]
    known = ["null", *NORMALIZATIONS]
    return [
        f"model.normalization.{network} should be one of {', '.join(known)}, but is {rule!r}"
        for network, rule in normalization.items()
        if not (rule is None or (isinstance(rule, str) and rule in NORMALIZATIONS))
    ]
