"""What people type, in Hydra's terms: short names of options, and paths and names with any letters.

Hydra's parser reads `(`, `#`, letters outside of ASCII and more as its own or not at all. So the values of options that
hold paths or names are quoted for it here, as the shell gave them; nowhere else needs to think of it.
"""

import os
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from dmtc.config.folder import config_folder
from dmtc.config.methods import with_method
from dmtc.core.errors import UserError
from dmtc.core.yaml_files import read_yaml

PATHS = (
    "run_dir",
    "resume",
    "dataset.root",
    "dataset.cache",
    "dataset.images",
    "dataset.masks",
    "dataset.unlabelled",
    "dataset.val",
    "dataset.test",
    "dataset.classes",
    "split.labelled",
    "split.unlabelled",
    "default_labelled",
    "model.weights.*",
    "run.image_cache",
    "job.runs",
    "job.input",
    "job.output",
    "job.out",
    "job.beside",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
"""Options whose value is a file or a folder, or a list of such in brackets."""

NAMES = ("tag", "dataset.classes", "job.license", "job.push", "logger.wandb.project", "logger.wandb.group")
"""Options whose value is somebody's own word, or a list of such: as `PATHS`, but never the home or an interpolation."""

SHORT = ("runs", "input", "output", "format")
"""Options of jobs that can be given without `job.`."""

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_SWEEP = re.compile(r"(?:choice|glob|interval|range|sort|shuffle|tag|str)\(.*\)", re.DOTALL)


def translate(arguments: Sequence[str]) -> list[str]:
    """Put what people type into Hydra's terms.

    `run=DIR` means the folder of an earlier run unless it is a choice of the group `run`; `runs=`, `input=`, `output=`
    and `format=` are options of the job; paths and names may hold any character; a resumed run writes into its own
    folder; and `model_b` is a group as `model` is.
    """
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
            translated.insert(0, argument)  # Hydra's parser knows it before the overrides only
        else:
            translated.append(in_hydras_terms(literal(argument, swept)))
    return translated


def _groups_of_run(arguments: Sequence[str]) -> list[str]:
    """The data set and split of the run that a command is about, where it gives options of theirs but not them."""
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
        return []  # told by whoever needs it
    return [f"{group}={name}" for group, name in names.items() if (config_folder() / group / f"{name}.yaml").is_file()]


def literal(override: str, swept: bool = False) -> str:
    """Quote the value of an override whose option holds a path or a name; everything else is left as it is.

    What is there already under the whole value is meant, whatever Hydra would read in it. Otherwise Hydra's own terms
    still hold: `null`, a value in quotes, a list in brackets, `${...}` of a path, and in a sweep commas and functions
    such as `choice(A,B)`.

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
    """Let network b's own model be chosen like the one that all share.

    `model_b=dpt` and `model_b/backbone=dinov2_small` are `model@model_b=dpt` and
    `model/backbone@model_b.backbone=dinov2_small` to Hydra; everything else is left as it is.
    """
    key, equals, value = override.partition("=")
    match = re.fullmatch(r"([+~]*)(model_[a-z])(?:/(\w+))?", key)
    if not match or value.startswith("{"):
        return override
    sign, package, part = match.groups()
    return f"{sign}model/{part}@{package}.{part}{equals}{value}" if part else f"{sign}model@{package}{equals}{value}"


def quoted(text: str) -> str:
    """Text as Hydra's parser reads it back."""
    return QuotedString(text, Quote.single).with_quotes()


def escaped(text: str) -> str:
    r"""Text in which OmegaConf sees no interpolation: `${x}` becomes `\${x}`."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def home(path: str) -> str:
    """A path whose `~` is the home folder, as the shell has it at the beginning of a word; it has not after `=`."""
    return path if not path.startswith("~") or os.path.lexists(path) else os.path.expanduser(path)


def _literal(value: str, swept: bool, one: Callable[[str], str]) -> str:
    if _is_there(value):
        return one(value)
    if value.lower() == "null" or _QUOTED.fullmatch(value) or (swept and _SWEEP.fullmatch(value)):
        return value
    # A folder may be called [x] as well; it is told apart by being there.
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
    """Whether all of its `${...}` are of OmegaConf: a resolver such as `${oc.env:DATA}`, or a setting of ours."""
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
    """Split at the commas that stand in no quotes and no brackets."""
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
