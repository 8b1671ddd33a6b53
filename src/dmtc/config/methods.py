"""Methods: the choices that a file in `conf/method` combines, and the name of a run with some of them swapped."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dmtc.config.folder import config_folder
from dmtc.core.errors import UserError
from dmtc.core.yaml_files import read_yaml

KEYS = ("name", "loss", "schedule")
"""Keys of the `method` part of a config: its name, and the loss and schedule that it selects."""

LABELLING = {"teacher": "stored", "views": "weak", "mixing": "none"}
"""Further groups that a method may select from, each with what it selects if it names none."""


_GROUPS = {"supervised": "labelled"}
"""The config groups below `loss` with another name than the term that they choose."""


def method_faults(spec: Mapping[str, Any]) -> list[str]:
    """List every error in the `method` part of a config, one sentence each."""
    faults = [f"method.{key} should be a name, but is {spec.get(key)!r}" for key in KEYS if not _is_name(spec.get(key))]
    known = (*KEYS, *LABELLING)
    faults += [f"method.{key} should be a name, but is {spec[key]!r}" for key in LABELLING if not _may_be(spec, key)]
    return faults + [
        f"method.{key} is not a setting; a method has {', '.join(known)}" for key in spec if key not in known
    ]


def method_title(config: Mapping[str, Any]) -> str:
    """Name what a config trains: its method, plus every part swapped for another.

    Args:
        config: Plain config with the parts `method`, `loss`, `schedule`, `teacher`, `views` and `mixing`.

    Examples:
        >>> import dmtc
        >>> method_title(dmtc.compose(["method=dmt"]))
        'dmt'
        >>> method_title(dmtc.compose(["loss=dst", "loss/mutual=flip"]))
        'dmtc loss=dst loss/mutual=flip'
    """
    method, loss, schedule = config["method"], config["loss"], config["schedule"]
    swapped = [
        f"{group}={part['name']}"
        for group, part in (("loss", loss), ("schedule", schedule))
        if part["name"] != method[group]
    ]
    swapped += [
        f"{group}={config[group]['name']}"
        for group, usual in LABELLING.items()
        if config[group]["name"] != method.get(group, usual)
    ]
    declared = loss.get("terms") or {}
    for term, own in declared.items():
        entry = loss.get(term)
        name = entry["name"] if isinstance(entry, Mapping) else "none"
        if name != own:
            swapped.append(f"loss/{_GROUPS.get(term, term)}={name}")
    more = {term: entry for term, entry in loss.items() if isinstance(entry, Mapping) and term not in declared}
    swapped += [f"loss.{term}={entry.get('name')}" for term, entry in more.items() if term != "terms"]
    return " ".join([method["name"], *swapped])


def methods_of_terms(loss: str) -> list[str]:
    """Names of the methods that use the set of terms called `loss`."""
    return [method["name"] for method in _methods() if method["loss"] == loss]


def loss_of_methods() -> dict[str, str]:
    """The set of terms of each method, by the names of both."""
    return {method["name"]: method["loss"] for method in _methods()}


def with_method(overrides: Sequence[str]) -> list[str]:
    """Read `loss=supervised` as the method of that name, since its terms go with no schedule that has rounds.

    The same holds for a sweep over such terms and methods, `loss=supervised,dmt`. Overrides that name a method stay.

    Examples:
        >>> with_method(["loss=supervised", "schedule=smoke"])
        ['method=supervised', 'schedule=smoke']
        >>> with_method(["loss=supervised,dmt", "seed=0,1"])
        ['method=supervised,dmt', 'seed=0,1']
        >>> with_method(["loss=dst"])
        ['loss=dst']
    """
    given = {override.lstrip("+").partition("=")[0] for override in overrides}
    if "loss" not in given or "method" in given:
        return list(overrides)  # as usual: no file needs reading
    names = {method["name"] for method in _methods()}
    alone = set(_sets_of_the_start())

    def read(override: str) -> str:
        key, _, value = override.partition("=")
        chosen = [name.strip() for name in value.strip("'\"").split(",")]
        is_method = key == "loss" and alone & set(chosen) and names.issuperset(chosen)
        return f"method={','.join(chosen)}" if is_method else override

    return [read(override) for override in overrides]


def _sets_of_the_start() -> Iterator[str]:
    """Names of methods whose terms are for labelled images alone."""
    for method in _methods():
        path = config_folder() / "loss" / f"{method['name']}.yaml"
        if method["loss"] == method["name"] and path.is_file():
            terms = (read_yaml(path) or {}).get("terms")
            if isinstance(terms, Mapping) and set(terms) == {"supervised"}:
                yield method["name"]


def _methods() -> Iterator[dict[str, Any]]:
    for path in sorted((config_folder() / "method").glob("*.yaml")):
        try:
            method = (read_yaml(path) or {}).get("method")
        except UserError:
            continue
        if isinstance(method, dict) and not method_faults(method):
            yield method


def _may_be(spec: Mapping[str, Any], key: str) -> bool:
    return key not in spec or _is_name(spec[key])


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
