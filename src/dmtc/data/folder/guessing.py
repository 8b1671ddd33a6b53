"""Infers how mask names differ from image names, if no setting says so and there is no ambiguity."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from dmtc.data.folder.pairing import Key, Pairing, implies, without_zeros

_MASK_WORD = re.compile(
    r"(?<![^\W\d_])(masks?|labels?|labelids|labeltrainids|annotations?|annots?|anno|gt|groundtruth|truth|seg|segmentations?"
    r"|manual|lab|lbl|targets?)(?![^\W\d_])",
    re.IGNORECASE,
)
_TRIED = 8  # images compared with the first mask
_PROBED = 50  # masks that a candidate must fit before all are checked
_MOST_CUTS = 10
_SEPARATORS = frozenset("_-. ")


def guess(images: Collection[str], masks: Collection[str], given: Pairing) -> list[Pairing]:
    """Find the pairings that give each mask its own image, and no image two masks; simplest first.

    Names may differ by a constant piece at the beginning, at the end, at both, or inside. The piece must contain a word
    and must not split a word or number. Leading zeros and the spelling of parts are ignored. Pairings that produce the
    same pairs count as one.

    Args:
        images: Image ids.
        masks: Mask ids.
        given: The pairing from the settings; candidates that contradict it are skipped.

    Returns:
        An empty list if nothing fits; one pairing if it is unambiguous, given at least two masks; several if the user
        must choose.
    """
    fitting: dict[tuple[tuple[str, str], ...], Pairing] = {}
    for pairing in _candidates(images, masks):
        if not (implies(pairing.image, given.image) and implies(pairing.mask, given.mask)):
            continue
        pairs = _pairs(pairing, images, masks)
        if pairs is not None and (pairs not in fitting or _cost(pairing) < _cost(fitting[pairs])):
            fitting[pairs] = pairing
    return [_with_separators(pairing, masks) for pairing in sorted(fitting.values(), key=_cost)]


def propose(images: Collection[str], masks: Collection[str]) -> list[tuple[Pairing, int]]:
    """Pairings that give some masks their own image, with the number of pairs; most pairs first, at most three.

    These are suggestions for a message and may be wrong.
    """
    found: dict[Pairing, int] = {}
    endings = Counter(_ending(id) for id in masks)
    for ending, _ in endings.most_common(_TRIED):
        of_kind = [id for id in masks if _ending(id) == ending]
        for pairing in _candidates(images, of_kind):
            of_key = Counter(pairing.image_key(id, loose=True) for id in images)
            keys = Counter(pairing.mask_key(id, loose=True) for id in of_kind)
            count = sum(1 for key, times in keys.items() if key is not None and times == 1 and of_key[key] == 1)
            if count:
                found[_with_separators(pairing, of_kind)] = count
    best: dict[str, tuple[Pairing, int]] = {}
    for pairing, count in sorted(found.items(), key=lambda item: (-item[1], _cost(item[0]))):
        best.setdefault(pairing.mask.rpartition("*")[2], (pairing, count))
    most = max((count for _, count in best.values()), default=0)
    return [one for one in best.values() if 2 * one[1] > most][:3]


def look_like_masks(names: Iterable[str]) -> list[str]:
    """In a folder of images and masks, the files whose names contain a word such as mask or label."""
    return [id for id in names if _MASK_WORD.search(id.rpartition("/")[2])]


def _ending(id: str) -> str:
    """The last word of a name, such as color or labelIds."""
    return re.split(r"[\W\d_]+", id.rpartition("/")[2].rstrip("0123456789"))[-1]


def _with_separators(pairing: Pairing, masks: Collection[str]) -> Pairing:
    """Move a separator that every wildcard match ends (or begins) with into the pattern: `_sat` instead of `sat`."""
    if pairing.image.count("*") > 1:
        return pairing
    cores = [key[1] for id in masks if (key := pairing.mask_key(id)) is not None]
    patterns = [pairing.image, pairing.mask]
    ends, starts = {core[-1] for core in cores}, {core[0] for core in cores}
    if any(len(core) < 3 for core in cores) and ends == starts:
        return pairing
    if len(ends) == 1 and ends <= _SEPARATORS and not any(pattern.endswith("*") for pattern in patterns):
        patterns = [pattern.replace("*", f"*{min(ends)}") for pattern in patterns]
    if len(starts) == 1 and starts <= _SEPARATORS and not any(pattern.startswith("*") for pattern in patterns):
        patterns = [pattern.replace("*", f"{min(starts)}*") for pattern in patterns]
    return Pairing(*patterns)


def _pairs(pairing: Pairing, images: Collection[str], masks: Collection[str]) -> tuple[tuple[str, str], ...] | None:
    """All pairs of mask and image, or None if a mask has no image or shares it."""
    probe = {pairing.mask_key(id, loose=True) for id in sorted(masks)[:_PROBED]}
    if None in probe or len(probe) < min(len(masks), _PROBED):
        return None
    keys: dict[Key | None, list[str]] = {}
    for id in images:
        keys.setdefault(pairing.image_key(id, loose=True), []).append(id)
    pairs = []
    for mask in sorted(masks):
        key = pairing.mask_key(mask, loose=True)
        found = [] if key is None else keys.get(key, [])
        if len(found) != 1:
            return None
        pairs.append((mask, found[0]))
    return tuple(pairs) if len({image for _, image in pairs}) == len(pairs) else None


def _candidates(images: Collection[str], masks: Collection[str]) -> Iterator[Pairing]:
    """Candidates from comparing one mask with the images most similar to it."""
    names = [[id.rpartition("/")[2] for id in ids] for ids in (images, masks)]
    heads, tails = [_common(of) for of in names], [_common([name[::-1] for name in of])[::-1] for of in names]
    seen: set[Pairing] = set()
    for mask in sorted(names[1], key=lambda name: (-len(_words(name)), name))[:1]:
        for image in sorted(names[0], key=lambda name: _likeness(name, mask), reverse=True)[:_TRIED]:
            for pairing in (*_inside(image, mask), *_around(image, mask, heads, tails)):
                if pairing not in seen:
                    seen.add(pairing)
                    yield pairing


def _inside(image: str, mask: str) -> Iterator[Pairing]:
    """Pairings in which one piece differs between a common beginning and a common end."""
    for head in range(len(_common([image, mask])), -1, -1):
        left = min(len(image), len(mask)) - head
        for tail in range(len(_common([image[::-1][:left], mask[::-1][:left]])), -1, -1):
            pieces = [name[head : len(name) - tail] for name in (image, mask)]
            cuts_nothing = all(_is_border(name, at) for name in (image, mask) for at in (head, len(name) - tail))
            if cuts_nothing and _has_word(*pieces) and (all(pieces) if head and tail else head or tail):
                before, after = "*" * bool(head), "*" * bool(tail)
                yield Pairing(*(f"{before}{piece}{after}" for piece in pieces))


def _around(image: str, mask: str, heads: Sequence[str], tails: Sequence[str]) -> Iterator[Pairing]:
    """Pairings with a beginning and end common to all images, and others common to all masks."""
    cores = [
        {
            (head, tail): without_zeros(name[len(head) : len(name) - len(tail)])
            for head in _cuts(name, beginning, from_end=False)
            for tail in _cuts(name, end, from_end=True)
            if len(head) + len(tail) < len(name)
        }
        for name, beginning, end in ((image, heads[0], tails[0]), (mask, heads[1], tails[1]))
    ]
    for (head, tail), core in cores[0].items():
        for (other_head, other_tail), other in cores[1].items():
            differ = [pair for pair in ((head, other_head), (tail, other_tail)) if pair[0] != pair[1]]
            if core == other and differ and all(_has_word(*pair) for pair in differ):
                yield Pairing(f"{head}*{tail}", f"{other_head}*{other_tail}")


def _cuts(name: str, text: str, from_end: bool) -> list[str]:
    """Beginnings (or ends) of a text that split no word of the name; shortest first."""
    pieces = [text[len(text) - length :] if from_end else text[:length] for length in range(len(text) + 1)]
    places = [len(name) - len(piece) if from_end else len(piece) for piece in pieces]
    return [piece for piece, at in zip(pieces, places, strict=True) if _is_border(name, at)][:_MOST_CUTS]


def _is_border(name: str, at: int) -> bool:
    """Whether cutting a name at a position splits no word and no number."""
    if at in (0, len(name)):
        return True
    before, after = name[at - 1], name[at]
    return not (before.isdecimal() and after.isdecimal()) and not (
        before.isalpha() and after.isalpha() and not (before.islower() and after.isupper())
    )


def _has_word(*pieces: str) -> bool:
    """Whether a difference contains a word; a difference in numbers alone does not separate images from masks."""
    return any(letter.isalpha() for piece in pieces for letter in piece)


def _common(names: Collection[str]) -> str:
    """The longest common beginning."""
    first, last = min(names), max(names)
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]


def _words(name: str) -> Counter[str]:
    return Counter(without_zeros(word) for word in re.findall(r"[^\W\d_]+|\d+", name))


def _likeness(image: str, mask: str) -> tuple[int, int]:
    shared = sum((_words(image) & _words(mask)).values())
    return shared, len(_common([image, mask])) + len(_common([image[::-1], mask[::-1]]))


def _cost(pairing: Pairing) -> tuple[int, int, str]:
    return pairing.image.count("*"), len(pairing.image) + len(pairing.mask), pairing.image
