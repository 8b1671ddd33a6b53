"""Which settings may change when a run resumes: those that cannot change its results."""

from collections.abc import Mapping
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.run.moved import is_path, is_place, is_weights, same_kind

FREE = (
    "run.workers",
    "run.parallel_students",
    "run.progress",
    "run.log_every",
    "run.score_pseudo_labels",
    "run.scored_unlabelled",
    "run.report",
    "run.test",  # scored after everything else is done
    "run.pictures",
    "run.checkpoint_minutes",
    "run.on_nonfinite",  # matters only where the run would have ended without results
    "run.debug",
    "run.image_cache",
    "run.gradient_checkpointing",
    "logger",
)
"""Settings that cannot change results: networks, pseudo-labels and scores are the same to the last bit."""

BY_ROUNDING = ("run.device",)
"""Settings of the machine. Another kind of device rounds differently, which is reported."""

_BESIDE = (
    "job",
    "resume",
    "run_dir",
    "tag",
    "imports",
    "default_ratio",
    "default_labelled",
    "default_aspp_rates",
    "default_aspp_branches",
    "default_backbone_rate",
)
"""Parts of a config that do not count: the current request, names, and inputs of other settings."""

_SHOWN = 5
_MISSING = object()


def settings_that_count(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that can change its results, by dotted key; ready for JSON.

    Places are left out, because their content is compared instead. For starting weights in a file, only that fact is
    kept.
    """
    counting = {}
    for key, value in _flat(config).items():
        if is_weights(key):
            counting[key] = "a file" if is_path(value) else value
        elif not (is_free(key) or is_place(key) or key.partition(".")[0] in _BESIDE):
            counting[key] = value
    return counting


def refuse_changes(before: Mapping[str, Any], after: Mapping[str, Any], hint: str) -> None:
    """Refuse changes to the settings of a run. Places may differ, because their content is compared.

    Args:
        before: The run's config, or a part of it.
        after: The same part now.
        hint: Start of the message.

    Raises:
        ConfigError: Settings that may change results differ; the message lists them.
    """
    old, new = _flat(before), _flat(after)
    keys = [
        key
        for key in {**old, **new}
        if old.get(key, _MISSING) != new.get(key, _MISSING) and not _may_differ(key, old, new)
    ]
    if keys:
        shown = [f"{key}: {_text(old, key)} -> {_text(new, key)}" for key in keys[:_SHOWN]]
        more = [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
        raise ConfigError(
            f"{hint}; {', '.join(keys[:_SHOWN])} cannot be changed ({', '.join(shown + more)}); "
            f"what can: {', '.join((*FREE, *BY_ROUNDING))}, and where data and weights lie"
        )


def _may_differ(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if is_weights(key):
        return same_kind(old.get(key), new.get(key))
    return is_place(key) or is_free(key)


def is_free(key: str) -> bool:
    """Whether a setting may change when a run resumes."""
    return any(key == free or key.startswith(f"{free}.") for free in (*FREE, *BY_ROUNDING))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat


def _text(flat: Mapping[str, Any], key: str) -> str:
    return str(flat[key]) if key in flat else "(not set)"
