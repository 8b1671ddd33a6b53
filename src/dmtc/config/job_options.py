"""Which options each job reads. An option that the job does not read is refused, with the jobs that read it."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmtc.config.places import DATA_PLACES
from dmtc.core.errors import ConfigError

_ALWAYS = ("job", "imports", "run.progress", "run.debug")
"""Options that every job reads: its own, the user's modules, and verbosity."""

_RECIPE = (
    "experiment",
    "method",
    "dataset",
    "split",
    "model",
    "model_*",
    "loss",
    "mixing",
    "schedule",
    "teacher",
    "views",
    "evaluation",
    "run",
    "logger",
)
_RECIPE += ("seed", "tag", "resume", "default_ratio", "default_labelled", "default_aspp_rates", "default_aspp_branches")
_RECIPE += ("default_backbone_rate",)
"""Options of a training run. Jobs that inspect a run before it starts take the same command."""

_NETWORKS = ("run.device", "run.precision", "run.compile", "run.workers", "run.label_batch")
"""How to run inference with the networks of an earlier run."""


READS: Mapping[str, tuple[str, ...]] = {
    "train": _RECIPE,
    "plan": tuple(key for key in _RECIPE if key != "resume"),
    "check": tuple(key for key in _RECIPE if key != "resume"),
    "benchmark": tuple(key for key in _RECIPE if key != "resume"),
    "convert": (),
    "evaluate": ("run_dir", "evaluation", "dataset", "run.image_cache", "run.test", *_NETWORKS),
    "predict": ("run_dir", "evaluation", *_NETWORKS),
    "label": ("run_dir", "evaluation", *_NETWORKS),
    "next": ("run_dir", "evaluation", *DATA_PLACES, "run.image_cache", *_NETWORKS),
    "export": ("run_dir",),
    "report": ("run_dir", *DATA_PLACES, "run.test", "run.pictures", "run.image_cache", *_NETWORKS),
}
"""Options, or whole parts of the config, that each job reads besides `_ALWAYS`. A user-defined job reads all."""


@dataclass(frozen=True, slots=True)
class _Only:
    """An option that a job reads only in one of its modes."""

    job: str
    key: str
    holds: Callable[[Mapping[str, Any]], bool]
    mode: str


def _has_run_dir(config: Mapping[str, Any]) -> bool:
    return config["run_dir"] is not None


ONLY = (
    _Only("export", "job.opset", lambda config: config["job"]["format"] == "onnx", "format=onnx"),
    _Only("export", "job.push", lambda config: config["job"]["format"] == "safetensors", "format=safetensors"),
    *(
        _Only("export", key, lambda config: config["job"]["format"] != "safetensors", "formats other than safetensors")
        for key in ("job.size", "job.probabilities")
    ),
    _Only("export", "job.private", lambda config: config["job"]["push"] is not None, "job.push=USER/NAME"),
    _Only("evaluate", "evaluation", lambda config: not config["job"]["protocols"], "one protocol, not job.protocols"),
    _Only("predict", "job.opacity", lambda config: "overlay" in config["job"]["write"], "job.write=[overlay]"),
    _Only("report", "job.over", lambda config: not _has_run_dir(config), "runs=DIR"),
    _Only("report", "job.baselines", lambda config: not _has_run_dir(config), "runs=DIR"),
    *(
        _Only("report", key, _has_run_dir, "run=RUN_DIR")
        for key in ("job.beside", *DATA_PLACES, "run.test", "run.pictures", "run.image_cache", *_NETWORKS)
    ),
)
"""Options that a job reads only in one of its modes."""

_TYPED = {"run_dir": "run"}
"""Options that have another name on the command line."""


_ELSEWHERE = {"augment": "dataset.augment"}
"""Groups whose choices come into the config under another name."""


def given_keys(overrides: Iterable[str]) -> list[str]:
    """Dotted names of the options that overrides set, also for `model/backbone=tiny` and `model@model_b=dpt`."""
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    # In `group@package`, the package is what is set, and it may differ from the group's name.
    named = [key.rpartition("@")[2].replace("/", ".") for key in keys]
    return [_ELSEWHERE.get(key, key) for key in named]


def refuse_unread(job: str, keys: Sequence[str], config: Mapping[str, Any] | None = None) -> None:
    """Refuse options that a job does not read.

    Args:
        job: Name of the job.
        keys: The options set, as returned by `given_keys`.
        config: The composed config, which tells the job's mode; None if not composed yet.

    Raises:
        ConfigError: The job does not read an option; the message says which jobs do.

    Examples:
        >>> refuse_unread("plan", ["seed", "model.backbone"])
        >>> refuse_unread("export", ["run_dir", "seed"])
        Traceback (most recent call last):
        dmtc.core.errors.ConfigError: seed is not read by job=export, but by job=train, plan, check and benchmark; ...
    """
    if job not in READS:
        return
    # Options that no job reads are reported elsewhere, with the closest match.
    refused = {key: homes for key in keys if not reads(job, key) and (homes := [j for j in READS if reads(j, key)])}
    if refused:
        names = ", ".join(_TYPED.get(key, key) for key in refused)
        homes = [home for home in READS if any(home in others for others in refused.values())]
        raise ConfigError(
            f"{names} {_is(refused)} not read by job={job}, but by job={_listed(homes)}; job={job} {_reading(job)}"
        )
    if config is None:
        return
    for only in ONLY:
        unread = [key for key in keys if key == only.key or key.startswith(f"{only.key}.")]
        if only.job == job and unread and not only.holds(config):
            raise ConfigError(f"{', '.join(unread)} {_is(unread)} read by job={job} only with {only.mode}")


def reads(job: str, key: str) -> bool:
    """Whether a job reads an option, or any option in a part of the config."""
    return any(_touches(key, one) for one in (*_ALWAYS, *READS[job]))


def _touches(key: str, declared: str) -> bool:
    """Whether an option equals a declared one, lies inside it, or contains it."""
    pairs = zip(key.split("."), declared.split("."), strict=False)
    return all(one == other or (other == "model_*" and re.fullmatch("model_[a-z]", one)) for one, other in pairs)


def _reading(job: str) -> str:
    if "run_dir" in READS[job]:
        others = [one for one in READS[job] if one != "run_dir" and not one.startswith("run.")]
        more = "".join(f", {one}.*" for one in others)
        return f"takes the rest from the run that run=RUN_DIR names, and reads job.*{more}, and what it uses of run.*"
    return "reads what training reads, and job.*" if READS[job] else "reads job.*"


def _is(keys: Collection[str]) -> str:
    return "is" if len(keys) == 1 else "are"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
