"""Recognizes the parts of a data set (train, validation, test, unlabelled) by names of folders and lists."""

import re
from itertools import pairwise
from typing import Literal

Part = Literal["train", "val", "test", "unlabelled"]

_NAMES: dict[Part, frozenset[str]] = {
    "test": frozenset({"test", "tests", "testing", "tested", "testset", "tst", "holdout", "heldout"}),
    "val": frozenset({"val", "vali", "valid", "validation", "validate", "validating", "valset", "eval", "evaluation"}),
    "unlabelled": frozenset({"unlabelled", "unlabeled", "unlabel", "nolabel", "nolabels"}),
    "train": frozenset({"train", "training", "trainset", "trn", "trainval"}),
}
"""In order of precedence for a name or path that matches several parts: test data are never trained on."""

_WHOLE: dict[str, Part] = {"dev": "val", "devel": "val", "tr": "train", "te": "test", "ts": "test", "va": "val"}
"""Names that count only if they are the whole name."""

_COMPANIONS = re.compile(
    "images?|imgs?|pictures?|photos?|inputs?|left|bit|masks?|labels?|labelled|annotations?|annot|gt|seg|segmentations?"
    "|targets?|data|dataset|sets?|subset|splits?|parts?|folds?|lists?|ids?|names?|files?|final|full|all|[a-z]"
)
"""Words that may accompany the name of a part. Any other word means something else, such as a place."""


def part_of(name: str) -> Part | None:
    """The part that a folder or list (without suffix) belongs to by its name, in any case; None if to none.

    A name that holds the word test always means a test part. Names of the other parts may be accompanied only by words
    such as "images" or "set", single letters and numbers.

    Examples:
        >>> [part_of(name) for name in ("Test", "hold-out", "VALID", "train2017", "trainImages", "Val Gardena")]
        ['test', 'test', 'val', 'train', 'train', None]
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", spaced)]
    joined = "".join(words)
    for part, names in _NAMES.items():
        if joined in names:
            return part
    if joined in _WHOLE:
        return _WHOLE[joined]
    pairs = {first + second for first, second in pairwise(words)}
    if _NAMES["test"] & {*words, *pairs}:
        return "test"
    found: list[Part] = [part for part, names in _NAMES.items() if names & set(words)]
    named = frozenset().union(*_NAMES.values())
    if found and all(word in named or _COMPANIONS.fullmatch(word) for word in words):
        # train_val is VOC's trainval: both together, for training.
        return "train" if {"val", "train"} == set(found) else found[0]
    return None


def part_of_id(id: str) -> Part | None:
    """The part that an id belongs to by its folders; if they match several, test comes before val, and train last."""
    named = {part_of(folder) for folder in id.split("/")[:-1]}
    return next((part for part in _NAMES if part in named), None)
