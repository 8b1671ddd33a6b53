"""The settings that differ between runs, and those needed to distinguish them."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.report.sweeps.finding import RunRecord

_MISSING = ""
"""Stands for a missing setting; not valid JSON."""

Values = Mapping[str, set[str]]
"""Keys with all their values from `value_of`."""


def value_of(run: RunRecord, key: str) -> str:
    """A setting as JSON, for comparison.

    A missing setting is a value of its own. A loss term that is switched off equals a missing one.
    """
    if key not in run.settings:
        return _MISSING
    value = run.settings[key]
    is_off = value is None and key.startswith("loss.")
    return _MISSING if is_off else json.dumps(value, sort_keys=True)


def varying(runs: Sequence[RunRecord]) -> Values:
    """Keys whose values differ between runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: {value_of(run, key) for run in runs} for key in keys}
    return {key: found for key, found in values.items() if len(found) > 1}


def distinguishing(differing: Values, runs: Sequence[RunRecord], known: Any, over: Sequence[str]) -> list[str]:
    """The keys that distinguish runs for which `known` is equal.

    All differing keys from the command line, and of the others the few still needed, found greedily.
    """
    given = frozenset().union(*(run.overrides for run in runs)) - set(over)
    chosen: list[str] = []
    for key in sorted(differing, key=lambda key: (key not in given, key.count("."), key)):
        found: dict[Any, set[str]] = defaultdict(set)
        for run in runs:
            values = () if key in given else tuple(value_of(run, one) for one in chosen)
            found[known(run), values].add(value_of(run, key))
        if any(len(different) > 1 for different in found.values()):
            chosen.append(key)
    return chosen


def text_of(run: RunRecord, key: str, differing: Values) -> str:
    """The short text of a value, or its JSON if the text is ambiguous; "" if the run lacks the key."""
    if key not in run.settings:
        return ""
    value = run.settings[key]
    others = [json.loads(other) for other in differing.get(key, ()) if other and other != json.dumps(value)]
    text = _short(value)
    return text if text and text not in map(_short, others) else json.dumps(value)


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value).replace(" ", "")


def is_of(key: str, parts: Sequence[str]) -> bool:
    """Whether a setting is one of these parts of the config, or inside one."""
    return any(key == part or key.startswith(f"{part}.") for part in parts)
