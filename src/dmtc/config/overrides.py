"""Translates typed overrides for Hydra: short option names, and paths and names with any characters.

Hydra's parser gives `(`, `#`, non-ASCII letters and more a meaning of its own, or rejects them. So the values of
options that hold paths or names are quoted here, exactly as the shell passed them.
"""

import os
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from dmtc.config.folder import config_folder
from dmtc.config.hyphens import without_hyphens
from dmtc.config.methods import with_method
from dmtc.config.places import DATA_PLACES, LIST_PLACES
from dmtc.core.errors import UserError
from dmtc.core.yaml_files import read_yaml

PATHS = (
    "run_dir",
    "resume",
    *DATA_PLACES,
    *LIST_PLACES,
    "model.weights.*",
    "run.image_cache",
    "job.runs",
    "job.input",
    "job.output",
    "job.out",
    "job.images",
    "job.beside",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
"""Options whose value is a file or folder, or a bracketed list of them."""

NAMES = (
    "tag",
    "dataset.classes",
    "job.license",
    "job.push",
    "logger.wandb.project",
    "logger.wandb.group",
    "logger.mlflow.tracking_uri",
    "logger.mlflow.experiment",
    "logger.mlflow.group",
)
"""Options whose value is free text, or a list of it: quoted like `PATHS`, but without `~` and interpolations."""

SHORT = ("runs", "input", "output", "format", "count")
"""Job options that can be typed without `job.`."""

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_SWEEP = re.compile(r"(?:choice|glob|interval|range|sort|shuffle|tag|str)\(.*\)", re.DOTALL)


def translate(arguments: Sequence[str]) -> list[str]:
    """Translate command-line arguments for Hydra.

    `run=DIR` is the folder of an earlier run unless it is a choice of the group `run`. `runs=`, `input=`, `output=` and
    `format=` are options of the job. Paths and names may hold any character. A resumed run writes into its own folder.
    `model_b` is a group like `model`. `--seed=1` is `seed=1`.

    Raises:
        ConfigError: See `without_hyphens`.
    """
    arguments = without_hyphens(arguments)
    swept = any(argument in ("-m", "--multirun") for argument in arguments)
    translated = []
    for argument in [*_groups_of_run(arguments), *with_method(arguments)]:
        key, equals, value = argument.partition("=")
        if key == "run" and equals and not _is_choice("run", value, arguments):
            translated.append(literal(f"run_dir={value}", swept))
        elif key in SHORT and equals:
            translated.append(literal(f"job.{argument}", swept))
        elif key == "resume" and value and value != "null":
            if _QUOTED.fullmatch(value) and not _is_there(value):
                value = value[1:-1]
            folder = quoted(escaped(str(Path(home(value)).absolute())))
            translated += [f"resume={folder}", f"hydra.run.dir={folder}"]
        elif argument in ("-m", "--multirun"):
            translated.insert(0, argument)  # Hydra accepts it only before the overrides
        else:
            translated.append(in_hydras_terms(literal(argument, swept)))
    return translated


def _groups_of_run(arguments: Sequence[str]) -> list[str]:
    """Data set and split of the run that the command names, if it sets their options but does not choose them."""
    given = {key: value for key, equals, value in (argument.partition("=") for argument in arguments) if equals}
    run = given.get("resume") or given.get("run")
    groups = [
        group for group in ("dataset", "split") if group not in given and any(k.startswith(f"{group}.") for k in given)
    ]
    path = os.path.join(home(run), "config.yaml") if run else ""
    if not groups or not os.path.isfile(path):
        return []
    try:
        stored = read_yaml(path)
        names = {group: str(stored[group]["name"]) for group in groups}
    except (UserError, LookupError, TypeError):
        return []  # reported by the code that needs the file
    return [f"{group}={name}" for group, name in names.items() if (config_folder() / group / f"{name}.yaml").is_file()]


def literal(override: str, swept: bool = False) -> str:
    """Quote the value of an override whose option holds a path or name; leave all other overrides unchanged.

    If the whole value is an existing path, it is taken literally. Otherwise Hydra's syntax still applies: `null`, a
    quoted value, a bracketed list, `${...}` in a path, and in a sweep commas and functions such as `choice(A,B)`.

    Args:
        override: As typed.
        swept: Whether commas separate values of a sweep.

    Examples:
        >>> literal("dataset.root=/data/photos (1)")
        "dataset.root='/data/photos (1)'"
        >>> literal("dataset.images=[a b,c]")
        "dataset.images=['a b','c']"
        >>> literal("seed=1")
        'seed=1'
    """
    key, equals, value = override.partition("=")
    name = key.lstrip("+~")
    if not equals or not value:
        return override
    if any(fnmatchcase(name, one) for one in NAMES):
        is_path = name in PATHS and _is_there(value)
        return f"{key}={_literal(value, swept, _path if is_path else _name)}"
    if any(fnmatchcase(name, one) for one in PATHS):
        return f"{key}={_literal(value, swept, _path)}"
    return override


def in_hydras_terms(override: str) -> str:
    """Let users choose network b's own model like the shared one.

    Turns `model_b=dpt` into `model@model_b=dpt`, and `model_b/backbone=dinov2_small` into
    `model/backbone@model_b.backbone=dinov2_small`. Leaves all other overrides unchanged.
    """
    key, equals, value = override.partition("=")
    match = re.fullmatch(r"([+~]*)(model_[a-z])(?:/(\w+))?", key)
    if not match or value.startswith("{"):
        return override
    sign, package, part = match.groups()
    return f"{sign}model/{part}@{package}.{part}{equals}{value}" if part else f"{sign}model@{package}{equals}{value}"


def quoted(text: str) -> str:
    """Quote text so that Hydra's parser reads it back unchanged."""
    return QuotedString(text, Quote.single).with_quotes()


def escaped(text: str) -> str:
    r"""Escape text so that OmegaConf sees no interpolation: `${x}` becomes `\${x}`."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def home(path: str) -> str:
    """Expand `~`, which the shell expands at the beginning of a word but not after `=`."""
    return path if not path.startswith("~") or os.path.lexists(path) else os.path.expanduser(path)


def _literal(value: str, swept: bool, one: Callable[[str], str]) -> str:
    if _is_there(value):
        return one(value)
    if value.lower() == "null" or _QUOTED.fullmatch(value) or (swept and _SWEEP.fullmatch(value)):
        return value
    # A folder may also be called [x]; if it exists, it was handled above.
    if value.startswith("[") and value.endswith("]") and len(_parts(value)) == 1:
        inner = value[1:-1].strip()
        return f"[{','.join(_element(part, one) for part in _parts(inner))}]" if inner else "[]"
    if swept and len(parts := _parts(value)) > 1:
        return ",".join(_literal(part, False, one) for part in parts)
    return one(value)


def _element(text: str, one: Callable[[str], str]) -> str:
    return text if _QUOTED.fullmatch(text) else one(text)


def _path(value: str) -> str:
    if _is_there(value):
        return quoted(escaped(f"./{value}" if value.startswith("~") and os.path.lexists(value) else home(value)))
    return quoted(home(value if _interpolates(value) else escaped(value)))


def _interpolates(value: str) -> bool:
    """Whether every `${...}` is a real interpolation: a resolver such as `${oc.env:DATA}`, or one of our settings."""
    inside = re.findall(r"\$\{(?:([^{}]*)\})?", value)
    return bool(inside) and all(":" in one or re.split(r"[.\[]", one)[0] in _settings() for one in inside)


@cache
def _settings() -> frozenset[str]:
    folder = config_folder()
    groups = (path.name for path in folder.iterdir() if path.is_dir())
    return frozenset((*read_yaml(folder / "config.yaml"), *groups, "hydra"))


def _name(value: str) -> str:
    return quoted(escaped(value))


def _is_there(value: str) -> bool:
    return os.path.lexists(value) or os.path.lexists(home(value))


def _is_choice(group: str, value: str, arguments: Sequence[str]) -> bool:
    folders = [str(config_folder())]
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("--config-dir", "-cd"):
            folders.append(after)
        elif argument.startswith("--config-dir="):
            folders.append(argument.partition("=")[2])
    return any(os.path.isfile(os.path.join(folder, group, f"{value}.yaml")) for folder in folders)


def _parts(text: str) -> list[str]:
    """Split at commas outside of quotes and brackets."""
    parts, start, depth, at = [], 0, 0, 0
    while at < len(text):
        fresh = not text[start:at].strip()
        if fresh and (match := _QUOTED.match(text, at)):
            at = match.end()
            continue
        depth += (text[at] in "[{") - (text[at] in "]}")
        if text[at] == "," and depth <= 0:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    return [*parts, text[start:].strip()]
