"""Pairs the images and masks of `dataset=folder` by name."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.dataset import few
from dmtc.data.folder.guessing import guess, look_like_masks, propose
from dmtc.data.folder.pairing import Key, Pairing
from dmtc.data.folder.places import Place, identity
from dmtc.data.listed import IMAGE_SUFFIXES, find_files

log = logging.getLogger(__name__)

_LEAST = 2  # masks that must fit before an inferred pairing is accepted
_KINDS = ("labelTrainIds", "labelIds")
"""In trees like Cityscapes', which hold masks of several kinds: those that hold classes, the best first."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Files by id.

    Attributes:
        images: Every image.
        masks: The masks of some of the images.
        orphans: Masks that match no image.
        pairing: How names correspond.
        notes: Findings about the names, one line each.
    """

    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    orphans: Sequence[Path]
    pairing: Pairing
    notes: Sequence[str] = ()


def pair_files(
    places: Sequence[Place], pairing: Pairing, mask_suffixes: Sequence[str], guessing: bool = False
) -> Paired:
    """Pair images and masks by their paths inside their folders.

    The id of an image is its place's prefix plus the path inside the folder, without suffix. An image and a mask match
    if they are in the same subfolder and their names correspond. Files left over are matched ignoring the spelling of
    parts (`Val`, `valid`) and leading zeros. No mask ever gets two images.

    Args:
        places: Folders of images and masks.
        pairing: How names correspond.
        mask_suffixes: File suffixes of masks.
        guessing: If nothing matches, infer another pairing, provided it is unambiguous; of masks of several kinds, as
            Cityscapes has, from those that hold classes.

    Raises:
        DataError: Two images have the same id, a mask fits two images, or an image has two masks.
    """
    first = _pair(places, pairing, mask_suffixes)
    if first.masks or not first.images or not guessing:
        return first
    images, masks = _names(places, pairing, mask_suffixes)
    for kind in ("", *_KINDS):
        of_kind = [id for id in masks if id.endswith(kind)]
        found = guess(images, of_kind, pairing) if len(of_kind) >= _LEAST else []
        if len(found) == 1:
            paired = _pair(places, found[0], mask_suffixes)
            others = f" called {kind}" if kind else ""
            note = f"names: {found[0].setting}, because each of the {len(of_kind)} masks{others} then has its own image"
            return Paired(paired.images, paired.masks, paired.orphans, found[0], (note, *paired.notes))
    return first


def require_pairs(paired: Paired, places: Sequence[Place], mask_suffixes: Sequence[str]) -> None:
    """Check that there are images and masks, and warn about masks without an image.

    Raises:
        DataError: There are no images or no pairs; the message suggests settings.
    """
    images = few([str(place.images) for place in places])
    if not paired.images:
        raise DataError(f"{images}: no images there (looked for {', '.join(IMAGE_SUFFIXES)})")
    masks = few(list(dict.fromkeys(str(folder) for place in places for folder in place.masks)))
    if not paired.masks:
        names = _names(places, paired.pairing, mask_suffixes)
        options = [f"{one.setting} ({count} of {len(names[1])} masks)" for one, count in propose(*names)]
        is_plain = paired.pairing == Pairing()
        same = "have the same name" if is_plain else f"are called {paired.pairing.image} and {paired.pairing.mask}"
        hint = "; dataset.pairing=[*_sat,*_mask] says how names differ" if names[1] else ""
        if options:
            hint = f"; is it {' or '.join(options)}?"
        raise DataError(
            f"no image has a mask: an image and its mask {same}, but {images} holds {few(list(names[0]))}"
            f" and {masks or 'no other folder'} holds {few(list(names[1])) or 'nothing'}{hint}"
        )
    if paired.orphans:
        log.warning(
            "%d masks in %s have no image and are not used: %s",
            len(paired.orphans),
            masks,
            few([path.name for path in paired.orphans]),
        )


def further_images(folders: Sequence[tuple[Path, str]], known: Mapping[str, Path]) -> dict[str, Path]:
    """Images of further folders, given with their id prefixes, without images that are already known.

    Raises:
        DataError: Another image has the same id.
    """
    there = {identity(path) for path in known.values()} - {None}
    more: dict[str, Path] = {}
    for folder, beginning in folders:
        for id, path in find_files(folder, IMAGE_SUFFIXES).items():
            if identity(path) in there:
                continue
            if beginning + id in known:
                raise DataError(
                    f"{known[beginning + id]} and {path} have the same id {beginning + id!r}; rename the folder"
                    f" {folder}"
                )
            more[beginning + id] = path
    return more


def _images_of(place: Place, pairing: Pairing) -> dict[str, Path]:
    """Images of a place by their path inside it, without masks in the same folder or in a mask folder inside it."""
    shared = place.is_shared
    inside = [masks.resolve() for masks in place.masks if not shared]
    inside = [masks for masks in inside if masks.is_relative_to(place.images.resolve())]

    def is_image(id: str, path: Path) -> bool:
        if shared and pairing.is_mask(id):
            return False
        return not any(path.resolve().is_relative_to(masks) for masks in inside)

    return find_files(place.images, IMAGE_SUFFIXES, wanted=is_image)


def _masks_in(folder: Path, places: Sequence[Place], pairing: Pairing, suffixes: Sequence[str]) -> dict[str, Path]:
    shared = any(place.is_shared for place in places)

    def is_mask(id: str, path: Path) -> bool:
        del path
        return pairing.is_mask(id) if shared else pairing.mask_key(id) is not None

    return find_files(folder, suffixes, wanted=is_mask)


def _by_folder(places: Sequence[Place]) -> dict[Path, list[Place]]:
    """For each mask folder, the places that its masks may belong to."""
    of: dict[Path, list[Place]] = defaultdict(list)
    for place in places:
        for folder in place.masks:
            of[folder].append(place)
    return of


def _pair(places: Sequence[Place], pairing: Pairing, mask_suffixes: Sequence[str]) -> Paired:
    files: dict[str, Path] = {}
    inside: dict[Place, dict[str, str]] = {}  # id by path inside the place
    for place in places:
        found = _images_of(place, pairing)
        inside[place] = {name: place.beginning + name for name in found}
        for name, path in found.items():
            id = place.beginning + name
            if id in files:
                raise DataError(f"{files[id]} and {path} have the same id {id!r}; keep one, or rename its folder")
            files[id] = path
    masks: dict[str, Path] = {}
    orphans: list[Path] = []
    loose = 0
    for folder, targets in _by_folder(places).items():
        left: dict[str, Path] = {}
        exact = _keyed(pairing, (inside[place] for place in targets), loose=False)
        for name, path in _masks_in(folder, targets, pairing, mask_suffixes).items():
            fitting = exact.get(pairing.mask_key(name) or ("",), [])
            if len(fitting) > 1:
                remedy = (
                    "name as many folders in dataset.masks as in dataset.images, in the same order"
                    if len(targets) > 1
                    else "a mask belongs to one image: rename one, or change dataset.pairing"
                )
                raise DataError(f"{path} fits {few(fitting)}; {remedy}")
            if fitting:
                _give(masks, fitting[0], path)
            else:
                left[name] = path
        keys = {name: pairing.mask_key(name, loose=True) for name in left}
        times = Counter(keys.values())
        rest = _keyed(pairing, (inside[place] for place in targets), loose=True) if left else {}
        for name, path in left.items():
            key = keys[name]
            fitting = [] if key is None or times[key] > 1 else rest.get(key, [])
            if len(fitting) == 1 and fitting[0] not in masks:
                masks[fitting[0]] = path
                loose += 1
            else:
                orphans.append(path)
    notes = (
        [f"names: {loose} masks differ from their images in leading zeros or the spelling of a part"] if loose else []
    )
    return Paired(dict(sorted(files.items())), dict(sorted(masks.items())), orphans, pairing, notes)


def _keyed(pairing: Pairing, ids: Iterable[Mapping[str, str]], loose: bool) -> dict[Key, list[str]]:
    of_key: dict[Key, list[str]] = defaultdict(list)
    for of_place in ids:
        for name, id in of_place.items():
            if (key := pairing.image_key(name, loose)) is not None:
                of_key[key].append(id)
    return of_key


def _give(masks: dict[str, Path], id: str, path: Path) -> None:
    if id in masks:
        raise DataError(f"{masks[id]} and {path} are masks of one image, {id}; keep one")
    masks[id] = path


def _names(places: Sequence[Place], pairing: Pairing, suffixes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of images and of masks, such that both names of a pair have the same folder."""
    images: list[str] = []
    masks: list[str] = []
    listed: set[Path] = set()
    everything = Pairing()
    for place in places:
        several = len(_by_folder(places).get(place.masks[0], [])) > 1 if place.masks else False
        beginning = "" if several else place.beginning
        names = list(_images_of(place, everything))
        if place.is_shared:
            beside = set(look_like_masks(names)) if pairing == everything else {n for n in names if pairing.is_mask(n)}
            images += [beginning + name for name in names if name not in beside]
            masks += [beginning + name for name in names if name in beside]
            continue
        images += [beginning + name for name in names]
        for folder in place.masks:
            if folder not in listed:
                listed.add(folder)
                masks += [beginning + name for name in find_files(folder, suffixes, any_name=True)]
    return images, masks
