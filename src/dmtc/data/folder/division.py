"""Divides the images of `dataset=folder` into those trained on, those scored and those kept out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.dataset import few
from dmtc.data.folder.held_out import draw_validation
from dmtc.data.folder.paired import Paired
from dmtc.data.folder.part_lists import lists_in
from dmtc.data.folder.places import identity, named_folders
from dmtc.data.folder.scored_folder import folder_to_score
from dmtc.data.folder.unlabelled import further_unlabelled
from dmtc.data.lists import read_ids
from dmtc.data.part_names import Part, part_of, part_of_id

_ORDER = ("training", "validation", "test", "unlabelled", "kept out")
_CALLED = {"val": "validation", "test": "test", "train": "training", "unlabelled": "unlabelled"}


@dataclass
class Division:
    """The parts of a data set; no id is in two of them.

    Attributes:
        images: Image file by id, for all parts.
        masks: Mask file by id, for all parts except images used as unlabelled.
        train: Ids to train on.
        val: Ids for validation and model selection; each should have a mask.
        test: Ids to score once; each has a mask.
        notes: How the parts were found, one line each, for the user.
    """

    images: dict[str, Path]
    masks: dict[str, Path]
    train: set[str] = field(default_factory=set)
    val: set[str] = field(default_factory=set)
    test: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DivisionSettings:
    """The settings about parts; see `dmtc.data.folder.dataset.folder`."""

    val: str | None
    test: str | None
    unlabelled: str | list[str] | None
    fraction: float
    seed: int


def divide(root: Path | None, paired: Paired, settings: DivisionSettings, mask_suffixes: Sequence[str]) -> Division:
    """Find the parts. Settings take precedence over lists in `root`, and lists over folder names.

    Raises:
        DataError: A list or folder cannot be used, an image is in two parts, or there are too few masks to hold one
            out.
    """
    return _Divider(root, paired, settings, mask_suffixes).division()


class _Divider:
    def __init__(
        self, root: Path | None, paired: Paired, settings: DivisionSettings, mask_suffixes: Sequence[str]
    ) -> None:
        self.root = root
        self.settings = settings
        self.pairing = paired.pairing
        self.mask_suffixes = mask_suffixes
        self.images = dict(paired.images)
        self.masks = dict(paired.masks)
        self.by_folder: dict[str, Part | None] = {id: part_of_id(id) for id in paired.images}
        self.out: set[str] = set()  # ids that are not used
        self.requested: set[str] = set()  # ids in test parts that dataset.unlabelled names
        self.notes: list[str] = []
        self.lists = lists_in(root) if root is not None else {}

    def division(self) -> Division:
        chosen, closed = self._named("val", self.settings.val), self._named("test", self.settings.test)
        named = (chosen or set()) | (closed or set())
        listed: dict[Part, set[str] | None] = {
            "train": self._listed("train"),
            "val": self._listed("val"),
            "test": self._listed("test"),
        }
        self._require_distinct(listed)
        further = self._unlabelled(named | (listed["val"] or set()) | (listed["test"] or set()))
        test = closed if closed is not None else listed["test"]
        test = self._in_folders("test", named | further) if test is None else test - (chosen or set())
        val = chosen if chosen is not None else listed["val"]
        val = self._scorable(self._in_folders("val", test | further)) if val is None else val
        test, val = test - self.out, val - self.out
        if listed["test"]:
            self._keep_out(listed["test"] - test - val, "that a list called test names")
        for part in ("test", "val"):
            rest = {id for id, own in self.by_folder.items() if own == part} - test - val - further
            self._keep_out(rest, f"in folders called {_CALLED[part]}")
        train = self._training(listed["train"], test | val | further)
        again = self._same_files((train | further) - self.requested, test | val)
        train, further = train - again, further - again
        val = val or self._held_out(train)
        test = self._test(test)
        for id in further:
            self.masks.pop(id, None)
        self._note_rest(train - val)
        used = train | val | test | further
        return Division(
            images={id: path for id, path in sorted(self.images.items()) if id in used},
            masks={id: path for id, path in sorted(self.masks.items()) if id in used},
            train=(train | further) - val - test,
            val=val,
            test=test,
            notes=sorted(self.notes, key=lambda note: _ORDER.index(note.partition(":")[0])),
        )

    def _named(self, part: Part, given: str | None) -> set[str] | None:
        """The ids that `dataset.val` or `dataset.test` names; None if the setting is not given."""
        if given is None:
            return None
        path = Path(given).expanduser()
        called = _CALLED[part]
        if path.is_dir():
            return self._of_folder(part, path)
        ids = set(read_ids(path, self._own(part, path), also=self._also))
        self.notes.append(f"{called}: the {len(ids)} images that {path} lists")
        return ids

    def _own(self, part: Part, path: Path) -> Collection[str]:
        """The ids that a list may contain: those in folders of its part or of no part, if the list matches these."""
        near = [id for id, own in self.by_folder.items() if own in (part, None)]
        if len(near) == len(self.by_folder):
            return near
        try:
            read_ids(path, near, also=self._also)
        except DataError:
            return list(self.images)
        return near

    @cached_property
    def _also(self) -> dict[str, list[str]]:
        """Ids by alternative names: without a fixed affix such as `_sat`, and by the names of their masks."""
        names: dict[str, list[str]] = {}
        for id in self.images:
            key = self.pairing.image_key(id)
            if self.pairing.image != "*" and key is not None and len(key) == 2:
                names.setdefault(key[1], []).append(id)
        for id, path in self.masks.items():
            names.setdefault(path.stem, []).append(id)
        return names

    def _of_folder(self, part: Part, folder: Path) -> set[str]:
        """The images of a folder that a setting names: known ones in it, or those of a folder with its own masks."""
        found = folder_to_score(folder, part, _CALLED[part], self.images, self.masks, self.pairing, self.mask_suffixes)
        again = sum(any(self.by_folder[id] in (None, "train") for id in ids) for ids in found.withdrawn.values())
        self.out |= {id for ids in found.withdrawn.values() for id in ids}
        self.images |= found.images
        self.masks |= found.masks
        self.by_folder |= dict.fromkeys(found.images, part)
        note = f"{_CALLED[part]}: the {len(found.ids)} images of {found.folder}"
        if again:
            note += f"; {again} of them are also among the training images and are not trained on"
        self.notes.append(note)
        return found.ids

    def _unlabelled(self, scored: set[str]) -> set[str]:
        """The ids of `dataset.unlabelled` and of folders called unlabelled; their masks are not used."""
        own = {id for id, part in self.by_folder.items() if part == "unlabelled" and id not in scored}
        if self.settings.unlabelled is None:
            if own:
                self.notes.append(f"unlabelled: {len(own)} images of folders called unlabelled")
            return own
        found = further_unlabelled(
            named_folders(self.settings.unlabelled, "unlabelled", "unlabelled images"),
            self.images,
            self.masks,
            {id for id, part in self.by_folder.items() if part == "test"} - scored,
            self.pairing,
        )
        self.images |= found.images
        self.by_folder |= dict.fromkeys(found.images, "unlabelled")
        self.requested = found.named
        self.notes += found.notes
        return own | found.named | found.images.keys()

    def _listed(self, part: Part) -> set[str] | None:
        """The ids of lists in the root; None if there is no such list, or a setting overrides it."""
        paths = self.lists.get(part, [])
        if not paths or (part == "val" and self.settings.val is not None):
            return None
        ids: set[str] = set()
        for path in paths:
            ids |= set(read_ids(path, self._own(part, path), also=self._also))
        if part == "val" or (part == "test" and self.settings.test is None):
            self.notes.append(f"{_CALLED[part]}: the {len(ids)} images that {few([str(path) for path in paths])} lists")
        return ids

    def _require_distinct(self, listed: Mapping[Part, set[str] | None]) -> None:
        """Refuse lists that contradict each other, or that name images in a folder of a scored part."""
        pairs: tuple[tuple[Part, Part], ...] = (("val", "test"), ("train", "test"), ("train", "val"))
        for one, other in pairs:
            both = (listed[one] or set()) & (listed[other] or set())
            if both:
                paths = [str(self.lists[part][0]) for part in (one, other)]
                raise DataError(
                    f"{len(both)} images are listed in both {' and '.join(paths)}: {few(both)}; remove them"
                )
        refused: tuple[tuple[Part, tuple[Part, ...]], ...] = (("train", ("test", "val")), ("val", ("test",)))
        for part, closed in refused:
            wrong = {id for id in listed[part] or () if self.by_folder[id] in closed} - (listed["test"] or set())
            if wrong:
                called = _CALLED[self.by_folder[min(wrong)] or "test"]
                raise DataError(
                    f"{self.lists[part][0]} lists {len(wrong)} images in a folder called {called}:"
                    f" {few(wrong)}; remove them, or rename the folder"
                )

    def _in_folders(self, part: Part, taken: set[str]) -> set[str]:
        ids = {id for id, own in self.by_folder.items() if own == part and id not in self.out} - taken
        if ids:
            self.notes.append(f"{_CALLED[part]}: the {len(ids)} images of {self._where(ids)}")
        return ids

    def _where(self, ids: Iterable[str]) -> str:
        """The folders whose names determine the part of some ids."""
        folders = set()
        for id in ids:
            pieces = id.split("/")
            at = next(at for at, piece in enumerate(pieces) if part_of(piece) is not None)
            path = self.images[id]
            inside = len(pieces) - 1 - at
            folders.add(str(path.parents[inside - 1] if inside else path.parent))
        return few(folders)

    def _scorable(self, val: set[str]) -> set[str]:
        """Validation images by folder; if none of them has a mask, keep them out."""
        without = val - self.masks.keys()
        if without and without == val:
            self.notes[-1] += ", which have no masks: they are kept out"
            self.out |= val
            return set()
        return val

    def _keep_out(self, ids: set[str], where: str) -> None:
        """Mark the ids as unused and add a note."""
        rest = ids - self.out
        if rest:
            self.out |= rest
            self.notes.append(f"kept out: {len(rest)} images {where} are not used: {few(rest)}")

    def _same_files(self, train: set[str], scored: set[str]) -> set[str]:
        """Training images whose file is also scored under another name."""
        there = {one for id in scored if (one := identity(self.images[id])) is not None}
        again = {id for id in train if identity(self.images[id]) in there} if there else set()
        if again:
            self.notes.append(
                f"kept out: {len(again)} images that are the same files as scored ones, under other names: {few(again)}"
            )
        return again

    def _training(self, listed: set[str] | None, used: set[str]) -> set[str]:
        rest = self.images.keys() - used - self.out
        if listed is None:
            return rest
        path = few([str(one) for one in self.lists["train"]])
        unlisted = {id for id in rest - listed if id in self.masks}
        self.notes.append(f"training: the {len(listed - used)} images that {path} lists")
        if unlisted:
            self.notes.append(f"kept out: {len(unlisted)} images with masks that no list names: {few(unlisted)}")
        more = rest - listed - unlisted
        if more:
            self.notes.append(f"unlabelled: {len(more)} images without masks that no list names")
        return (listed - used - self.out) | more

    def _held_out(self, train: set[str]) -> set[str]:
        masked = [id for id in train if id in self.masks]
        held, note = draw_validation(masked, len(self.masks), self.settings.fraction, self.settings.seed)
        self.notes.append(note)
        return held

    def _test(self, test: set[str]) -> set[str]:
        without = test - self.masks.keys()
        self.out |= without
        if test:
            at = next(at for at, note in enumerate(self.notes) if note.startswith("test: "))
            rest = f"; {len(without)} of them have no mask and are only kept out" if without else ""
            self.notes[at] += f", never trained on, scored once at the end{rest}"
            if without == test:
                self.notes[at] = self.notes[at].partition(", never")[0] + ", which have no masks: they are kept out"
        return test - without

    def _note_rest(self, train: set[str]) -> None:
        """Note training images that are in no part although there is a training folder."""
        named = [id for id in train if self.by_folder[id] == "train"]
        rest = [id for id in train if self.by_folder[id] is None]
        if named and rest and "train" not in self.lists:
            self.notes.append(f"training: also {len(rest)} images in no folder named after a part: {few(rest)}")
