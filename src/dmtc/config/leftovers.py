"""What a recipe set for a part that the command line has swapped does not reach the new part."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from dmtc.config.folder import LoadedFile
from dmtc.config.job_options import given_keys
from dmtc.config.methods import KEYS as METHOD_KEYS
from dmtc.config.methods import LABELLING

_RECIPES = ("experiment", "method")
"""The groups whose files set options of the parts that they pick."""


_NOTHING = object()


def drop_leftovers(cfg: DictConfig, overrides: Sequence[str], files: Sequence[LoadedFile]) -> None:
    """Take back what only a recipe sets below the groups that overrides swap, unless an override sets it too.

    With `experiment=unimatch_voc_r101 mixing=classmix`, the `mixing.area` of the recipe's CutMix would fall away, while
    its `mixing.partner` stays, as the new part has this option. A part of the network gets its own values throughout:
    `model/backbone=mobilenetv2` is no ResNet because the recipe's backbone has another `arch`.

    Args:
        cfg: As composed; changed in place.
        overrides: As typed.
        files: The files that went into it.
    """
    keys = given_keys(overrides)
    swapped = _swapped(overrides, files)
    groups = [key for group in swapped for key in given_keys([group])]
    named = [key for key in keys if key not in groups]
    for group, setting in swapped.items():
        own = [one for one in files if one.group == group]
        place = _place(own[-1])
        new = reduce(_merged, map(_placed, own))
        if _is_turned_off(new, place):
            taken = [(place, None)]
        else:
            recipe = reduce(_merged, [one.content for one in files if one.group in setting], {})
            known = reduce(_merged, [_placed(one) for one in files if one.group not in setting], {})
            new = _below(new, place) if group.partition("/")[0] == "model" else {}
            taken = _taken_back(_below(recipe, place), _below(known, place), new, place)
        for path, value in taken:
            if not any(key == path or key.startswith(f"{path}.") for key in named):
                _put(cfg, path, value)


def _swapped(overrides: Sequence[str], files: Sequence[LoadedFile]) -> dict[str, tuple[str, ...]]:
    """The groups whose choice overrides name, if it is another one than the recipe's, and which files are its recipe.

    A method that overrides name swaps the groups that it picks, and what its own file sets for them stays.
    """
    chosen = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    picked: dict[str, str] = {}
    for one in files:
        picked = _picks(one.content) | picked if one.group in _RECIPES else picked
    found = {group: _RECIPES for group, choice in chosen.items() if choice != picked.get(group)}
    if "method" in found:
        found = dict.fromkeys((*METHOD_KEYS[1:], *LABELLING), _RECIPES[:1]) | found
    loaded = {one.group for one in files} - {"", *_RECIPES}
    return {group: setting for group, setting in found.items() if group in loaded}


def _picks(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The choices that a recipe names in its list of defaults."""
    pairs = [pair for entry in recipe.get("defaults") or [] if isinstance(entry, Mapping) for pair in entry.items()]
    return {str(key).removeprefix("override ").lstrip("/"): str(choice) for key, choice in pairs}


def _package(one: LoadedFile) -> str:
    return one.package or one.group.replace("/", ".")


def _place(one: LoadedFile) -> str:
    """Where the options of a file's part are: its package, unless that holds other parts as well."""
    group, package = one.group.replace("/", "."), _package(one)
    return group if package == "_global_" or group.startswith(f"{package}.") else package


def _is_turned_off(content: Mapping[str, Any], place: str) -> bool:
    """Whether a part is explicitly null: then the weight that a set of terms gives it means nothing."""
    parent, _, name = place.rpartition(".")
    return bool(parent) and _below(content, parent).get(name, _NOTHING) is None


def _placed(one: LoadedFile) -> Mapping[str, Any]:
    """The content of a file, below its package."""
    package = _package(one)
    names = [] if package in ("", "_global_") else package.split(".")
    return reduce(lambda inner, name: {name: inner}, reversed(names), one.content)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    both = {key: _merged(one[key], other[key]) for key in one if _are_mappings(one[key], other.get(key))}
    return {**one, **other, **both}


def _taken_back(
    recipe: Mapping[str, Any], known: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Any]]:
    """Dotted names of what the recipe has alone, with nothing, and of what the new part has as well, with its value."""
    for key, value in recipe.items():
        if _are_mappings(value, known.get(key)):
            inner = new.get(key)
            yield from _taken_back(value, known[key], inner if isinstance(inner, Mapping) else {}, f"{path}.{key}")
        elif key in new or key not in known:
            yield f"{path}.{key}", new.get(key, _NOTHING)
        elif isinstance(value, Mapping):  # options of something that the new part leaves out
            yield f"{path}.{key}", known[key]


def _put(cfg: DictConfig, path: str, value: Any) -> None:
    parent, _, name = path.rpartition(".")
    node = OmegaConf.select(cfg, parent)
    if isinstance(node, DictConfig):
        with open_dict(node):
            if value is _NOTHING:
                node.pop(name, None)
            else:
                node[name] = value


def _below(content: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for name in path.split("."):
        content = content.get(name) or {}
        if not isinstance(content, Mapping):
            return {}
    return content


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)
