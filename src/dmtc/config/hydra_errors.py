"""Hydra errors as one readable line, with the closest existing name."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import OverrideParseException

from dmtc.config.folder import config_folder
from dmtc.config.missing_parts import groups, missing_part
from dmtc.core.suggestions import did_you_mean, nearest, nearest_option
from dmtc.core.yaml_files import read_yaml

# Lines that help only authors of Hydra plugins.
_HIDDEN = (
    "Set the environment variable",
    "See https://",
    "Config search path:",
    "provider=",
    "full_key:",
    "object_type=",
    "reference_type=",
    "To append to your config use",
)


def one_line(error: BaseException, known_keys: Callable[[], Iterable[str]] | None = None) -> str:
    """Message of a Hydra or OmegaConf error, joined with that of its cause, which often holds the second half.

    Args:
        error: The error.
        known_keys: Returns the dotted keys of the config, to suggest the closest match for a typo.
    """
    parts = [str(error)] + ([str(error.__cause__)] if error.__cause__ else [])
    lines = [line.strip() for part in parts for line in part.splitlines()]
    text = " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_HIDDEN)))
    if isinstance(error, OverrideParseException):
        return _unparsed(error.override)
    if "hydra/launcher/submitit" in text:
        return f"{text}. It comes with: pip install 'dmtc[slurm]'"
    if choice := re.search(r"Could not find '([^']+)' Available options in '([^']+)': (.+)", text):
        place = re.search(r"In '([^']+)'", text)
        where = f"{place[1]}: " if place and place[1] != "config" else ""
        return where + _no_choice(choice[2], choice[1].removeprefix(f"{choice[2]}/"), choice[3].split())
    if key := re.search(r"Could not override '([^']+)'", text):
        return missing_part(key[1]) or _no_setting(key[1], known_keys)
    if key := re.search(r"Could not delete (?:from config\. )?'([^'=]+)", text):
        return f"~{key[1]}: dmtc has no such setting to leave out"
    return text


def _unparsed(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"[+~]*[\w$/.@:-]+", key):
        return f"{override!r} is not an option; options have the form key=value, such as seed=1"
    return f"{key}: Hydra cannot read the value {value}; put it in two kinds of quotes: '{key}=\"VALUE\"'"


def _no_setting(key: str, known_keys: Callable[[], Iterable[str]] | None) -> str:
    """One line about an option or a group that the config lacks."""
    typed = re.sub(r"^model(/\w+)?@(model_[a-z])(?:\.\w+)?$", r"\2\1", key)  # before it was put in Hydra's terms
    unknown = f"{typed}: dmtc has no such setting"
    if part := re.match(r"model/\w+@(model_[a-z])\.", key):
        return f"{unknown}. Choose the head of that network too, such as {part[1]}=deeplabv2"
    if key.startswith("evaluation."):
        protocol = "Choose the protocol too, such as evaluation=original"
        return f"{unknown}. {protocol}, or set job.flip, scales, absent or metrics"
    if homes := _homes(key):
        return f"{typed}: it is an option of {' and '.join(homes)}, and not of what is chosen here"
    return unknown + ("" if known_keys is None else _other_option(typed, [*groups(), *known_keys()]))


def _no_choice(group: str, name: str, options: Sequence[str]) -> str:
    """One line about a choice that its group lacks."""
    others = _other_choice(group, name, options) or f"; choose from {', '.join(options)}"
    return f"{group}={name}: there is no such choice{others}"


def _other_choice(group: str, name: str, options: Sequence[str]) -> str:
    """What may be meant by a choice that its group lacks; other groups are searched too."""
    choices = [(other, path.stem) for other, paths in groups().items() for path in paths]
    homes = [other for other, choice in choices if choice == name]
    if "method" in homes:
        return f". It is a method: method={name}"
    if homes:
        return f". It is a choice of another group: {' or '.join(f'{home}={name}' for home in homes)}"
    if own := nearest(name, options):
        return f".{did_you_mean([f'{group}={own[0]}'])}"
    others = nearest(name, [choice for _, choice in choices], 1, 0.75)
    asked = did_you_mean(f"{other}={choice}" for other, choice in choices if choice in others)
    return f".{asked}" if asked else ""


def _other_option(key: str, known: Sequence[str]) -> str:
    """What may be meant by an option that the config lacks; those of choices not made are searched too."""
    elsewhere = _options()
    found = nearest_option(key, [*known, *elsewhere])
    asked = did_you_mean(found[:2])
    home = elsewhere.get(found[0]) if found and found[0] not in known else None
    return f".{asked}{f' It is an option of {home}' if home else ''}" if asked else ""


def _options() -> dict[str, str]:
    """Dotted options of every choice, each with the first choice that has it."""
    options: dict[str, str] = {}
    for group, paths in groups().items():
        for path in paths if group not in ("experiment", "method") else []:
            content = read_yaml(path) or {}
            own = content.get(group)
            for key in _flat(own if isinstance(own, dict) else content):
                options.setdefault(f"{group.replace('/', '.')}.{key}", f"{group}={path.stem}")
    return options


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if key != "defaults":
            yield from _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]


def _homes(key: str) -> list[str]:
    """Choices of a group that have the option, which the current choice lacks."""
    group, _, option = key.rpartition(".")
    files = sorted((config_folder() / group.replace(".", "/")).glob("*.yaml")) if group else []
    homes = []
    for path in files:
        content = read_yaml(path) or {}
        # A file for the whole config nests the options below the group name.
        if option in {**content, **(content.get(group) or {})} and not path.stem.startswith("_"):
            homes.append(f"{group.replace('.', '/')}={path.stem}")
    return homes
