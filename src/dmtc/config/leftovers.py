"""What a recipe set for a part that the command line has swapped does not reach the new part."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from omegaconf import DictConfig, OmegaConf, open_dict

from dmtc.config.folder import LoadedFile, loaded_files, remember_loaded, without_values
from dmtc.config.methods import KEYS as METHOD_KEYS
from dmtc.config.methods import LABELLING
from dmtc.config.own_backbones import keep_own_backbones

_RECIPES = ("experiment", "method")
"""Groups whose files set options of the parts that they pick."""

_NOTHING = object()


def drop_leftovers(cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any]) -> None:
    """Take back what only an experiment or a method sets for the parts that overrides swap.

    With `experiment=unimatch_voc_r101 mixing=classmix`, the `mixing.area` of the recipe's CutMix falls away, while its
    `mixing.partner` stays, as the new part has this option. A part of the network gets its own values throughout:
    `model/backbone=mobilenetv2` is no ResNet because the recipe's backbone has another `arch`; and so do the terms of
    a set of losses. Overrides have the last word. For this, the config is composed again without the values of the
    recipe; Hydra must be initialized.

    Args:
        cfg: As composed; changed in place.
        overrides: What it was composed of, in Hydra's terms.
        choices: The choice of each group, as Hydra says (`hydra.runtime.choices`).
    """
    named = {override.lstrip("+~").partition("=")[0]: override for override in overrides}
    groups = [key for key in named if key in choices and key not in _RECIPES]
    files = loaded_files()
    places = {group: _place(one) for group in choices if (one := _file_of(group, choices, files))}
    values = [f"++{named[key].lstrip('+')}" for key in named if key not in choices and not named[key].startswith("~")]
    picks = [named[key] for key in named if key in choices]
    for recipes, swapped in _swapped(named, groups, choices):
        with without_values(recipes):
            plain = hydra_compose("config", overrides=[*picks, *values])
        for group in [group for group in swapped if group in places]:
            others = {place for other, place in places.items() if other != group}
            own = {key for one in files if one.group == group for key in _own_keys(one)}
            for path, value in _taken_back(_raw(cfg, places[group]), _raw(plain, places[group]), own):
                if f"{places[group]}.{path}" not in others:
                    _put(cfg, f"{places[group]}.{path}", value)
    for group in [group for group in groups if group in places]:
        if _is_turned_off(_file_of(group, choices, files), places[group]):
            _put(cfg, places[group], None)
    keep_own_backbones(cfg, overrides, choices, files)
    remember_loaded(files)


def _swapped(
    named: Mapping[str, str], groups: Sequence[str], choices: Mapping[str, Any]
) -> Iterator[tuple[Collection[str], list[str]]]:
    """Groups whose choice is another one than the recipe's, each time with the groups of files that are the recipe.

    A method that overrides name swaps the groups that it picks, and what its own file sets for them stays.
    """
    recipes = [named[key] for key in _RECIPES if key in named]
    if groups and recipes:
        usual = _choices(recipes)
        if swapped := [group for group in groups if choices[group] != usual.get(group)]:
            yield _RECIPES, swapped
    if len(recipes) == len(_RECIPES) and choices["method"] != _choices(recipes[:1])["method"]:
        yield _RECIPES[:1], [group for group in (*METHOD_KEYS[1:], *LABELLING) if group not in groups]


def _choices(overrides: Sequence[str]) -> Mapping[str, Any]:
    cfg = hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
    return OmegaConf.to_container(cfg.hydra.runtime.choices)  # pyright: ignore[reportReturnType]


def _file_of(group: str, choices: Mapping[str, Any], files: Sequence[LoadedFile]) -> LoadedFile | None:
    found = [one for one in files if one.group == group and Path(one.path).stem == str(choices[group])]
    return found[-1] if found else None


def _own_keys(one: LoadedFile) -> list[str]:
    """Options that are a new part's own: all of a part of the network, and the terms of a set of losses."""
    of_network = one.group.partition("/")[0] == "model"
    return [
        key for key, value in one.content.items() if of_network or (one.group == "loss" and isinstance(value, Mapping))
    ]


def _place(one: LoadedFile) -> str:
    """Where the options of a file's part are: its package, unless that holds other parts as well."""
    group = one.group.replace("/", ".")
    return group if one.package in (None, "_global_") or group.startswith(f"{one.package}.") else one.package


def _is_turned_off(one: LoadedFile | None, place: str) -> bool:
    """Whether a file says null for its part: then the weight that a set of terms gives it means nothing."""
    return one is not None and one.content.get(place.rpartition(".")[2], _NOTHING) is None


def _raw(cfg: DictConfig, place: str) -> Any:
    """The part, with interpolations as they are written."""
    node = OmegaConf.select(cfg, place)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else None


def _taken_back(found: Any, plain: Any, own: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted names of what a recipe alone sets, with nothing, and of what the new part has as well, with its value."""
    if not isinstance(found, dict) or not isinstance(plain, dict):
        return
    for key, value in found.items():
        if key not in plain:
            yield key, _NOTHING
        elif value != plain[key] and (key in own or (isinstance(value, dict) and not isinstance(plain[key], dict))):
            yield key, plain[key]
        else:
            yield from ((f"{key}.{path}", other) for path, other in _taken_back(value, plain[key]))


def _put(cfg: DictConfig, path: str, value: Any) -> None:
    parent, _, name = path.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if isinstance(node, DictConfig):
        with open_dict(node):
            if value is _NOTHING:
                node.pop(name, None)
            else:
                node[name] = value
