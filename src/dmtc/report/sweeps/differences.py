"""In which settings runs differ, and which of these are needed to tell them apart."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.report.sweeps.finding import RunRecord

_MISSING = ""
"""Stands for a setting that a run lacks; no JSON is so."""

Values = Mapping[str, set[str]]
"""Keys with all their values, as `value_of` gives them."""


def value_of(run: RunRecord, key: str) -> str:
    """A setting as JSON, for comparing.

    One that a run lacks is a value of its own. A term of the loss that is switched off is as one that is not there.
    """
    if key not in run.settings:
        return _MISSING
    value = run.settings[key]
    is_off = value is None and key.startswith("loss.")
    return _MISSING if is_off else json.dumps(value, sort_keys=True)


def varying(runs: Sequence[RunRecord]) -> Values:
    """Keys that are not alike in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: {value_of(run, key) for run in runs} for key in keys}
    return {key: found for key, found in values.items() if len(found) > 1}


def telling(differing: Values, runs: Sequence[RunRecord], known: Any, over: Sequence[str]) -> list[str]:
    """The keys that tell runs apart that are alike in what is `known` of them.

    Of the command line all that differ; of the others the few, found one after the other, that are needed beside them.
    """
    given = frozenset().union(*(run.overrides for run in runs)) - set(over)
    chosen: list[str] = []
    for key in sorted(differing, key=lambda key: (key not in given, key.count("."), key)):
        found: dict[Any, set[str]] = defaultdict(set)
        for run in runs:
            told = () if key in given else tuple(value_of(run, one) for one in chosen)
            found[known(run), told].add(value_of(run, key))
        if any(len(values) > 1 for values in found.values()):
            chosen.append(key)
    return chosen


def text_of(run: RunRecord, key: str, differing: Values) -> str:
    """A value for people, other than that of any other value; "" where a run lacks the key."""
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
