"""Suggestions for a misspelled name. Nothing else in the library says "Did you mean"."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names closest to a name, best first.

    Args:
        name: As typed.
        known: Names to choose from.
        count: Maximum number of names.
        cutoff: Minimum similarity in [0, 1].

    Examples:
        >>> nearest("fixmatch_emma", ["fixmatch", "fixmatch_ema", "dmt"])
        ['fixmatch_ema']
    """
    return difflib.get_close_matches(name, list(known), n=count, cutoff=cutoff)


def did_you_mean(names: Iterable[str]) -> str:
    """A question that offers the names, with a space in front; empty if there are none.

    Examples:
        >>> did_you_mean(["method=dmt", "loss=dmt"])
        ' Did you mean method=dmt or loss=dmt?'
    """
    offered = " or ".join(names)
    return f" Did you mean {offered}?" if offered else ""


def nearest_option(name: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """The dotted options and groups closest to a name, compared as a whole, by the last part and part by part.

    Examples:
        >>> nearest_option("ratio", ["split.ratio", "seed"])
        ['split.ratio']
        >>> nearest_option("modle.backbone.arch", ["model.backbone.arch", "model.backbone.name"])
        ['model.backbone.arch']
    """
    known = list(dict.fromkeys(known))
    whole = nearest(name, known, 2, 0.85)
    last = [key for key in known if _parts(key)[-1] == _parts(name)[-1]]
    if len(_parts(name)) > 1:  # a whole path: of those that end alike only the similar ones are meant
        last = nearest(name, last, 1, cutoff)
    return (whole[:1] or last[:3]) or nearest(name, known, 1, cutoff)


def _parts(name: str) -> list[str]:
    return name.replace("/", ".").split(".")
