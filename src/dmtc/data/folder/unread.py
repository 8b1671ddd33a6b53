"""Reports files of unsupported types in image and mask folders, so that none is skipped silently."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dmtc.core.command import command
from dmtc.core.errors import DataError
from dmtc.data.folder.places import Place
from dmtc.data.listed import ANY_MASK_SUFFIXES, IMAGE_SUFFIXES, SECOND_SUFFIXES, files_below

log = logging.getLogger(__name__)

_BESIDE = {
    *(".aux.xml", ".tfw", ".tifw", ".pgw", ".pngw", ".jgw", ".jpgw", ".bpw", ".wld", ".prj", ".ovr", ".qml", ".qgz"),
    *(".md", ".rst", ".log", ".ini", ".db", ".py", ".ipynb", ".sh", ".html", ".pdf", ".yaml", ".yml", ".csv", ".tsv"),
    *(".lock", ".part", ".tmp", ".bak", ".xls", ".xlsx", ".url", ".lnk"),
}
"""Suffixes of files that accompany pictures: georeferences, notes, tables, system files."""

_LABELS = {".json", ".xml", ".txt", ".zip"}
"""Suffixes of files that may hold the labels of an annotation tool."""

_TEXTS = {
    *("readme", "license", "licence", "copying", "citation", "changelog", "notes", "info", "classes", "class_names"),
    *("labels", "label_names", "names", "colormap", "labelmap", "codes", "train", "trainval", "val", "valid", "test"),
    *("validation", "eval", "holdout", "testing", "unlabelled", "unlabeled", "split", "splits", "list", "files"),
}
"""Names of text files about a folder, without anything after a dot."""


@dataclass(slots=True)
class Folders:
    """Where images and masks were found; empty until then."""

    places: Sequence[Place] = field(default_factory=list)


@contextmanager
def reporting_unread(
    root: Path | None, images: str | list[str] | None, masks: str | list[str] | None, *others: str | list[str] | None
) -> Iterator[Folders]:
    """Report files that are not read: in the error, if the block raises one, else in a warning.

    Args:
        root: As in `dmtc.data.folder.dataset.folder`.
        images: As in `dmtc.data.folder.dataset.folder`.
        masks: As in `dmtc.data.folder.dataset.folder`.
        others: Further folders, of images or of both; paths of files are skipped.
    """
    found = Folders()
    try:
        yield found
    except DataError as error:
        text = unread_text(_folders(found.places) or _given(root, images, masks), labels=True)
        if text is None:
            raise
        raise DataError(f"{error}; {text}") from None
    folders = _folders(found.places)
    both = {path: ANY_MASK_SUFFIXES for given in others for path in _listed(given) if path.is_dir()}
    text = unread_text({**both, **folders}, labels=True)
    if text is not None:
        log.warning("%s", text)


def unread_text(folders: Mapping[Path, Collection[str]], labels: bool = False) -> str | None:
    """Count files of unsupported types by folder, in one line; None if there are none.

    A file counts for the innermost of these folders that contains it.

    Args:
        folders: The suffixes that are read in each folder, in lower case.
        labels: Whether some of the files may be labels, which can be converted to masks.
    """
    resolved = {folder.resolve() for folder in folders}
    texts: list[str] = []
    seen: set[str] = set()
    for folder, suffixes in folders.items():
        inner = [one for one in resolved if one != folder.resolve() and one.is_relative_to(folder.resolve())]
        kinds = _unread_kinds(folder, suffixes, inner)
        seen.update(kinds)
        if kinds:
            count = sum(kinds.values())
            which = "1 file" if count == 1 else f"{count} files"
            texts.append(
                f"{which} in {folder} {'is' if count == 1 else 'are'} of {'a kind' if count == 1 else 'kinds'} that"
                f" {'is' if count == 1 else 'are'} not read"
                f" ({', '.join(sorted(kinds)[:12])}{', ...' if len(kinds) > 12 else ''})"
            )
    if not texts:
        return None
    advice = ["save them as PNG or TIFF"] if not labels or seen - _LABELS else []
    if labels and seen & _LABELS:
        advice.append(
            f"if they are labels of an annotation tool, {command('job=convert input=DIR output=DIR')} makes masks"
        )
    return "; ".join([*texts, *advice])


def _folders(places: Sequence[Place]) -> dict[Path, Collection[str]]:
    folders: dict[Path, Collection[str]] = {place.images: IMAGE_SUFFIXES for place in places}
    for place in places:
        for masks in place.masks:
            folders[masks] = ANY_MASK_SUFFIXES
    return folders


def _given(
    root: Path | None, images: str | list[str] | None, masks: str | list[str] | None
) -> dict[Path, Collection[str]]:
    given = {path: IMAGE_SUFFIXES for path in _listed(images)} | {path: ANY_MASK_SUFFIXES for path in _listed(masks)}
    if root is not None and not given:
        given = {root: ANY_MASK_SUFFIXES}
    return {path: suffixes for path, suffixes in given.items() if path.is_dir()}


def _listed(given: str | list[str] | None) -> list[Path]:
    return [] if given is None else [Path(one).expanduser() for one in ([given] if isinstance(given, str) else given)]


def _unread_kinds(folder: Path, suffixes: Collection[str], left: Collection[Path]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    beside: dict[Path, list[str]] = defaultdict(list)  # suffixes by path without suffix
    for path in files_below(folder):
        if left and any(path.resolve().is_relative_to(one) for one in left):
            continue
        suffix = path.suffix.lower()
        if suffix in suffixes:
            beside[path.with_suffix("")].append(suffix)
        elif not _is_beside(path):
            kinds[_kind(path)] += 1
    for same in beside.values():
        if len(same) > 1:
            kinds.update(suffix for suffix in _not_taken(same))
    return kinds


def _not_taken(suffixes: Sequence[str]) -> list[str]:
    """Among files of the same name, the suffixes that are skipped in favor of others."""
    first = [suffix for suffix in suffixes if suffix not in SECOND_SUFFIXES]
    return [suffix for suffix in suffixes if suffix in SECOND_SUFFIXES] if first else []


def _is_beside(path: Path) -> bool:
    name = path.name.lower()
    if name in ("thumbs.db", "desktop.ini", "icon\r") or name.startswith("~$"):
        return True
    about = path.stem.lower().split(".")[0] in _TEXTS and path.suffix.lower() in ("", ".txt", ".json", ".xml")
    return about or any(name.endswith(suffix) for suffix in _BESIDE)


def _kind(path: Path) -> str:
    """The suffix; for compressed files with the one before it; "without a suffix" if there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if not suffixes:
        return "without a suffix"
    packed = suffixes[-1] in (".gz", ".bz2", ".xz", ".zst") and len(suffixes) > 1
    return "".join(suffixes) if packed else suffixes[-1]
