"""Rules that choose the labelled images.

Every rule takes the training ids with masks (`ids`) and without (`unmasked`), and returns a `Split` for the networks a
and b. Images without masks are always unlabelled.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.registry import Registry
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.lists import read_ids
from dmtc.splits.ratio import parse_ratio
from dmtc.splits.split import Split

SPLITS: Registry[Split] = Registry("split", runtime=("ids", "unmasked", "labels"))
"""The registered rules. The library passes `ids`, `unmasked` and `labels` (id -> uint8 (H, W) mask) to rules that take
them."""

_PUBLISHED_SEED = 7777


def dmt_split(ids: Sequence[str], ratio: str | int | float, fold: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The published random split of DMT and DMTC.

    Args:
        ids: Training ids in any order; they are sorted first.
        ratio: A label ratio, see `parse_ratio`, for example "1/8" or 1/8. Larger ratios only add to smaller ones.
        fold: Number of the draw, from 0; 0, 1 and 2 are published.

    Returns:
        The labelled and the unlabelled ids, in the order drawn.

    Raises:
        ConfigError: The ratio is malformed or out of range, or the fold is negative.
        DataError: There are no ids.

    Source:
        DMT's split lists: one generator per data set shuffles the list again for every fold. Reproduces all 33
        published pairs for VOC and Cityscapes exactly. Deviation: none.

    Examples:
        >>> labelled, unlabelled = dmt_split([f"image{n}" for n in range(16)], "1/8", fold=0)
        >>> len(labelled), len(unlabelled)
        (2, 14)
    """
    if not ids:
        raise DataError("no training image has a mask, so none can be labelled")
    if fold < 0:
        raise ConfigError(f"split.fold should be 0 or more, but is {fold}")
    count, _ = parse_ratio(ratio, len(ids))
    order = sorted(ids)
    generator = random.Random(_PUBLISHED_SEED)
    for _ in range(fold + 1):
        generator.shuffle(order)
    return tuple(order[:count]), tuple(order[len(order) if count is None else count :])


@SPLITS.register("dmt")
def dmt(*, ratio: str | int | float, fold: int, ids: Sequence[str], unmasked: Sequence[str]) -> Split:
    """Choose at random by the published rule; see `dmt_split`."""
    labelled, unlabelled = dmt_split(ids, ratio, fold)
    return _shared("dmt", parse_ratio(ratio, len(ids))[1], labelled, (*unlabelled, *sorted(unmasked)))


@SPLITS.register("full")
def full(*, ids: Sequence[str], unmasked: Sequence[str]) -> Split:
    """Label every image that has a mask.

    Raises:
        DataError: No image has a mask.
    """
    if not ids:
        raise DataError("no training image has a mask, so none can be labelled")
    return _shared("full", "full", tuple(sorted(ids)), tuple(sorted(unmasked)))


@SPLITS.register("files")
def files(*, labelled: str | None, unlabelled: str | None, ids: Sequence[str], unmasked: Sequence[str]) -> Split:
    """Read the split from text files with one image per line, as published by papers; see `read_ids`.

    Args:
        labelled: The file of labelled images.
        unlabelled: The file of unlabelled images; None takes every other training image.
        ids: Training ids with masks.
        unmasked: Training ids without masks.

    Raises:
        ConfigError: `labelled` is not given.
        DataError: A file cannot be read or is empty, or lists an image twice or one that is not a training image.
    """
    if labelled is None:
        raise ConfigError("split files needs split.labelled=FILE, a text file with one image per line")
    known = {*ids, *unmasked}
    chosen = read_ids(Path(labelled).expanduser(), known, "training image")
    rest = (
        sorted(known - set(chosen))
        if unlabelled is None
        else read_ids(Path(unlabelled).expanduser(), known, "training image")
    )
    return _shared("files", f"{len(chosen)}/{len(ids)}", chosen, tuple(rest))


@SPLITS.register("difference_maximized")
def difference_maximized(
    *, ratio: str | int | float, fold: int, common: float, ids: Sequence[str], unmasked: Sequence[str]
) -> Split:
    """The published random split, with a different labelled subset for each of the two networks.

    Networks that start from the same weights learn nothing from each other, so each sees the common images plus its own
    half of the others.

    Args:
        ratio: Label ratio, as for `dmt_split`.
        fold: Number of the draw, from 0.
        common: Share of the labelled images that both networks see, in [0, 1].
        ids: Training ids with masks.
        unmasked: Training ids without masks.

    Raises:
        ConfigError: As for `dmt_split`, or `common` is out of range.

    Source:
        DMT's difference-maximized sampling (60 % common). Halves are rounded up, at the expense of the common images.
        Deviation: DMT drew four ratios in a row from one generator; here each ratio and fold is drawn independently,
        so the rule is the same but the lists differ.
    """
    if not 0 <= common <= 1:
        raise ConfigError(f"split.common should lie between 0 and 1, but is {common}")
    base = dmt(ratio=ratio, fold=fold, ids=ids, unmasked=unmasked)
    order = list(base.labelled)
    random.Random(_PUBLISHED_SEED + fold).shuffle(order)
    # Round to nine digits first; otherwise 0.2 * 1000 might become 201.
    own = min(math.ceil(round((1 - common) / 2 * len(order), 9)), len(order) // 2)
    subsets = {"a": tuple(order[: len(order) - own]), "b": tuple(order[own:])}
    return Split(
        name="difference_maximized",
        ratio=base.ratio,
        labelled=base.labelled,
        unlabelled=base.unlabelled,
        subsets=subsets,
    )


@SPLITS.register("lowest_occurrence")
def lowest_occurrence(
    *,
    ratio: str | int | float,
    fold: int,
    ids: Sequence[str],
    unmasked: Sequence[str],
    labels: Callable[[str], UInt8Array],
) -> Split:
    """Label the images with the rarest classes.

    This is the only rule that looks at masks before choosing: it opens those of all candidates, including images that
    end up unlabelled. It measures how much a good choice of images helps; comparing it with a random choice would not
    be fair.

    A class's occurrence is the number of candidates that contain it. Images are ranked by the occurrence of their
    rarest class, then the next rarest, and so on; remaining ties keep the random order of `dmt_split`.

    Args:
        ratio: Label ratio, as for `dmt_split`; sets the number of images.
        fold: Number of the random order that breaks ties, from 0.
        ids: Training ids with masks.
        unmasked: Training ids without masks.
        labels: Reads the mask of an id, uint8 (H, W).

    Raises:
        ConfigError: As for `dmt_split`.
        DataError: A mask cannot be read.

    Source:
        DMTC ships lists of this name for Cityscapes, but not the rule that produced them (and some ids are on both
        lists). The definition above is ours.
    """
    order, rest = dmt_split(ids, ratio, fold)
    order, count = order + rest, len(order)
    classes = {id: set(np.unique(labels(id)).tolist()) - {IGNORE_INDEX} for id in order}
    occurrence = Counter(index for present in classes.values() for index in present)
    # The final infinity ranks an image after any whose classes extend its own, and an image without classes last.
    ranked = sorted(order, key=lambda id: [*sorted(occurrence[index] for index in classes[id]), math.inf])
    text = parse_ratio(ratio, len(ids))[1]
    return _shared("lowest_occurrence", text, tuple(ranked[:count]), (*ranked[count:], *sorted(unmasked)))


def _shared(name: str, ratio: str, labelled: tuple[str, ...], unlabelled: tuple[str, ...]) -> Split:
    """A split in which both networks see all labelled images."""
    return Split(
        name=name, ratio=ratio, labelled=labelled, unlabelled=unlabelled, subsets={"a": labelled, "b": labelled}
    )
