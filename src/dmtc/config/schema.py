"""Top level of a config: its parts, and the type that each must have before anything reads it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dmtc.config.folder import LoadedFile
from dmtc.core.suggestions import did_you_mean, nearest_option

Config = dict[str, Any]
"""A config as plain dictionaries, with interpolations resolved."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_part_or_none(value: Any) -> bool:
    return value is None or _is_part(value)


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def are_names(value: Any) -> bool:
    """Whether a value is a list of strings."""
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


_PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("method", "dataset", "split", "model", "loss", "schedule", "teacher", "views", "mixing", "run", "job"),
        (_is_part, "a part with settings"),
    ),
    **dict.fromkeys(("evaluation", "logger"), (_is_part_or_none, "a part with settings, or null")),
    "seed": (_is_whole_number, "a whole number"),
    "tag": (_is_text, "text"),
    "imports": (are_names, "a list of modules, such as [my_losses]"),
    "resume": (_is_text_or_none, "a folder or null"),
    "run_dir": (_is_text_or_none, "a folder or null"),
}
"""Top-level keys of a config, each with a check and its description."""

_SHARED = (
    "default_ratio",
    "default_labelled",
    "default_aspp_rates",
    "default_aspp_branches",
    "default_backbone_rate",
)
"""Values of any type that parts refer to by interpolation."""

_NETWORK = re.compile(r"model_[a-z]")
"""Key of a network whose model differs from the shared one."""

_OPTIONAL = ("evaluation",)
"""Keys that may be missing in jobs that read a run, which has its own."""


def has_parts(config: Mapping[str, Any]) -> bool:
    """Whether all required parts are mappings."""
    parts = [key for key, (fits, _) in _PARTS.items() if fits is _is_part]
    return all(_is_part(config.get(key)) for key in parts)


def shape_faults(config: Mapping[str, Any], optional: Sequence[str] = _OPTIONAL) -> list[str]:
    """List missing or mistyped top-level keys of a config, one sentence each."""
    faults = []
    for key, (fits, expected) in _PARTS.items():
        if key not in config:
            if key not in optional:
                faults.append(f"{key} is missing")
        elif not fits(config[key]):
            faults.append(f"{key} should be {expected}, but is {_short(config[key])}")
    return faults


def unknown_keys(config: Mapping[Any, Any]) -> list[Any]:
    """Top-level keys of a config that nothing reads."""
    return [key for key in config if not (isinstance(key, str) and (key in _known() or _NETWORK.fullmatch(key)))]


def unknown_fault(
    key: Any, known: Iterable[str], overrides: Sequence[str] = (), files: Sequence[LoadedFile] = ()
) -> str:
    """Error message for a top-level key that nothing reads.

    Args:
        key: The key.
        known: Dotted names of every setting, to find the closest match.
        overrides: The overrides as typed.
        files: The files that went into the config.
    """
    names = [override for override in overrides if re.match(rf"\++{re.escape(str(key))}(?:[.=@/]|$)", override)]
    here = [one for one in files if key in one.content and one.package in ("_global_", None) and not _is_nested(one)]
    nested = [one for one in files if (one.package or one.group.partition("/")[0]).partition(".")[0] == key]
    if names:
        where = names[0].partition("=")[0]
    elif here:
        where = f"{here[-1].path}: {key}"
    elif nested:
        return (
            f"{nested[-1].path}: none of its keys reaches a setting, because they go below {key!r}; its first line"
            " should be # @package _global_"
        )
    else:
        where = str(key)
    return f"{where}: dmtc has no such setting.{_nearest(str(key), known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = nearest_option(name, [*known, *_known()], 0.5)
    return did_you_mean(names) or f" Known: {', '.join(sorted(_known()))}"


def _known() -> tuple[str, ...]:
    return (*_PARTS, *_SHARED)


def _is_nested(one: LoadedFile) -> bool:
    """Whether Hydra puts the keys of a file below its group's name, although the file does not say so."""
    return one.package is None and bool(one.group)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Copy a mapping without the given keys."""
    return {key: value for key, value in mapping.items() if key not in keys}
