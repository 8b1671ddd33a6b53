"""Which settings may differ between a run and its continuation: those that cannot change its results."""

from collections.abc import Mapping
from typing import Any

from dmtc.errors import ConfigError
from dmtc.moved import is_place, is_weights, same_kind

FREE = (
    "run.device",
    "run.workers",
    "run.parallel_students",
    "run.progress",
    "run.log_every",
    "run.label_batch",
    "run.score_pseudo_labels",
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

_SHOWN = 5


def refuse_changes(before: Mapping[str, Any], after: Mapping[str, Any], hint: str) -> None:
    """Hold the settings of a run against those that it is to go on with. Places may differ: their content is compared.

    Args:
        before: Its config, or a part of it.
        after: The same part now.
        hint: Beginning of the message.

    Raises:
        ConfigError: Something differs that may change results; the message shows what.
    """
    old, new = _flat(before), _flat(after)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key) and not _may_differ(key, old, new)]
    if keys:
        shown = [f"{key}: {_text(old, key)} -> {_text(new, key)}" for key in keys[:_SHOWN]]
        more = [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
        raise ConfigError(
            f"{hint}; {', '.join(keys[:_SHOWN])} cannot be changed ({', '.join(shown + more)}); "
            f"what can: {', '.join(FREE)}, and where data and weights lie"
        )


def _may_differ(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if is_weights(key):
        return same_kind(old.get(key), new.get(key))
    return is_place(key) or is_free(key)


def is_free(key: str) -> bool:
    """Whether a setting cannot change results."""
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat


def _text(flat: Mapping[str, Any], key: str) -> str:
    return str(flat[key]) if key in flat else "(not set)"
