"""Hydra's errors as one readable line, with the nearest name that exists."""

import difflib
import re
from collections.abc import Iterable

# Lines that help those who write Hydra plugins, and puzzle everyone else.
_HIDDEN = (
    "Set the environment variable",
    "See https://",
    "Config search path:",
    "provider=",
    "full_key:",
    "object_type=",
    "reference_type=",
)


def one_line(error: BaseException, known_keys: Iterable[str] = ()) -> str:
    """The message of an error of Hydra or OmegaConf, whose second half is often in its cause.

    Args:
        error: The error.
        known_keys: Dotted keys of the config, to suggest the nearest to a misspelt one.
    """
    parts = [str(error)] + ([str(error.__cause__)] if error.__cause__ else [])
    lines = [line.strip() for part in parts for line in part.splitlines()]
    text = " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_HIDDEN)))
    # Files that begin with an underscore are what choices are made from, and none themselves.
    text = re.sub(r"(?<=Available options in )('[^']+':)((?: _\w+)+)", r"\1", text)
    return text + _suggestion(text, known_keys)


def _suggestion(text: str, known_keys: Iterable[str]) -> str:
    if "hydra/launcher/submitit" in text:
        return ". It comes with: pip install 'dmtc[slurm]'"
    if choice := re.search(r"Could not find '([^']+)' Available options in '([^']+)': (.+)", text):
        wrong, group, options = choice[1], choice[2], choice[3].split()
        nearest = difflib.get_close_matches(wrong.removeprefix(f"{group}/"), options, n=1)
        return f". Did you mean {group}={nearest[0]}?" if nearest else ""
    if key := re.search(r"Could not override '[^']+@(model_[a-z])\.", text):
        return f". Choose the head of that network too, such as {key[1]}=deeplabv2"
    if key := re.search(r"Could not override '([^']+)'", text):
        nearest = difflib.get_close_matches(key[1], list(known_keys), n=1)
        return f". Did you mean {nearest[0]}?" if nearest else ""
    return ""
