"""Options with hyphens, `--seed=1`, as the agents of sweeps and habit write them."""

import re
from collections.abc import Sequence

from dmtc.core.errors import ConfigError
from dmtc.core.suggestions import did_you_mean, nearest

_WITH_VALUE = ("--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info")
_ALONE = ("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun", "--shell-completion")
"""Hydra's own arguments, which have hyphens and may be abbreviated."""

_OPTION = re.compile(r"--([+~]*[A-Za-z_][\w/.@:]*)=(.*)", re.DOTALL)


def without_hyphens(arguments: Sequence[str]) -> list[str]:
    """Make `seed=1` of `--seed=1`, and leave Hydra's own arguments, such as `--config-dir=DIR`, as they are.

    A value `None`, as Python writes it, becomes `null`.

    Args:
        arguments: As typed.

    Raises:
        ConfigError: There is one that is neither, such as `--seed`, whose value would have to follow with a space.

    Examples:
        >>> without_hyphens(["--seed=1", "--split.ratio=None", "--config-dir=conf", "-m"])
        ['seed=1', 'split.ratio=null', '--config-dir=conf', '-m']
    """
    return [_in_words(argument) if argument.startswith("--") else argument for argument in arguments]


def _in_words(argument: str) -> str:
    name, equals, _ = argument.partition("=")
    if any(flag.startswith(name) for flag in _WITH_VALUE) or (not equals and any(f.startswith(name) for f in _ALONE)):
        return argument
    if option := _OPTION.fullmatch(argument):
        return f"{option[1]}={'null' if option[2] == 'None' else option[2]}"
    asked = did_you_mean(nearest(name, (*_WITH_VALUE, *_ALONE), cutoff=0.8))
    told = f"{argument}: write an option and its value as one word, such as seed=1 or --seed=1"
    raise ConfigError(f"{told}.{asked}" if asked else told)
