"""The command that was typed, for messages that say what to type next."""

import sys
from pathlib import Path

_SCRIPT = Path(__file__).parents[3] / "run.py"
"""The entry point in a checkout; an installed package has none."""


def command(arguments: str = "") -> str:
    """A command line that starts as the one that was typed: with `dmtc`, `python -m dmtc` or `python run.py`.

    Args:
        arguments: What follows. In a notebook or another program, where no command was typed, it follows `dmtc`.

    Examples:
        >>> command("resume=outputs/first")
        'dmtc resume=outputs/first'
    """
    return f"{_program(Path(sys.argv[0] if sys.argv else ''))} {arguments}".rstrip()


def _program(typed: Path) -> str:
    if typed.name == "__main__.py" and typed.absolute().parent == Path(__file__).parents[1]:
        return "python -m dmtc"
    if typed.name == _SCRIPT.name and typed.is_file() and _SCRIPT.is_file() and typed.samefile(_SCRIPT):
        return "python run.py"
    return "dmtc"
