"""What parts of a data set are called: the names of folders and lists that say train, validation, test, unlabelled."""

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
"""In the order in which they count where a name, or a path, says several: what is tested on is never trained on."""

_WHOLE: dict[str, Part] = {"dev": "val", "devel": "val", "tr": "train", "te": "test", "ts": "test", "va": "val"}
"""Names that say so only where nothing stands beside them."""

_COMPANIONS = re.compile(
    "images?|imgs?|pictures?|photos?|inputs?|left|bit|masks?|labels?|labelled|annotations?|annot|gt|seg|segmentations?"
    "|targets?|data|dataset|sets?|subset|splits?|parts?|folds?|lists?|ids?|names?|files?|final|full|all|[a-z]"
)
"""What may stand beside the name of a part without making it the name of something else, such as a place."""


def part_of(name: str) -> Part | None:
    """The part that the name of a folder or list (without suffix) says, in any case; None if it says none.

    A name that holds the word test is that of a test part, whatever else it holds; for the others only words such as
    "images" or "set", single letters and numbers may stand beside.

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
        # train_val is what VOC calls trainval: both together, to train on.
        return "train" if {"val", "train"} == set(found) else found[0]
    return None


def part_of_id(id: str) -> Part | None:
    """The part that the folders of an id say; where they say several, test comes before val, and train last."""
    said = {part_of(folder) for folder in id.split("/")[:-1]}
    return next((part for part in _NAMES if part in said), None)
