"""Hydra errors as one readable line, with the closest existing name."""

import difflib
import re
from collections.abc import Callable, Iterable

from hydra.errors import OverrideParseException

from dmtc.config.folder import config_folder
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
    return text + _suggestion(text, known_keys)


def _unparsed(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"[+~]*[\w$/.@:-]+", key):
        return f"{override!r} is not an option; options have the form key=value, such as seed=1"
    return f"{key}: Hydra cannot read the value {value}; put it in two kinds of quotes: '{key}=\"VALUE\"'"


def _suggestion(text: str, known_keys: Callable[[], Iterable[str]] | None) -> str:
    if "hydra/launcher/submitit" in text:
        return ". It comes with: pip install 'dmtc[slurm]'"
    if choice := re.search(r"Could not find '([^']+)' Available options in '([^']+)': (.+)", text):
        wrong, group, options = choice[1], choice[2], choice[3].split()
        name = wrong.removeprefix(f"{group}/")
        if group == "loss":
            methods = [path.stem for path in (config_folder() / "method").glob("*.yaml")]
            if name in methods:
                return f". It is a method: method={name}"
        nearest = difflib.get_close_matches(name, options, n=1)
        return f". Did you mean {group}={nearest[0]}?" if nearest else ""
    if key := re.search(r"Could not override '[^']+@(model_[a-z])\.", text):
        return f". Choose the head of that network too, such as {key[1]}=deeplabv2"
    if "Could not override 'evaluation." in text:
        return ". Choose the protocol too, such as evaluation=original, or set job.flip, scales, absent or metrics"
    if key := re.search(r"Could not override '([^']+)'", text):
        if homes := _homes(key[1]):
            return f". It is an option of {' and '.join(homes)}"
        groups = [path.name for path in config_folder().iterdir() if path.is_dir()]
        known = [] if known_keys is None else [*groups, *known_keys()]
        nearest = difflib.get_close_matches(key[1], known, n=1)
        return f". Did you mean {nearest[0]}?" if nearest else ""
    return ""


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
