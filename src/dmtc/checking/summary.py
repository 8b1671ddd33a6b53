"""The result of a check as text: errors, warnings, then statistics."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from dmtc.checking import examination, gathering
from dmtc.checking.examination import Examined, Finding, Role
from dmtc.checking.gathering import Check
from dmtc.core.types import IGNORE_INDEX
from dmtc.data import faults
from dmtc.report.tables import text_table

_ROLES: tuple[Role, ...] = ("labelled", "unlabelled", "validation", "test", "unused")

_FAULTS = {
    faults.UNREADABLE_IMAGE,
    faults.CUT_OFF_IMAGE,
    faults.UNREADABLE_MASK,
    faults.MASK_CHANNELS,
    faults.UNKNOWN_VALUE,
    faults.UNLISTED_COLOR,
    faults.OTHER_SIZE,
    faults.IMAGE_VALUES,
    faults.TOO_LARGE,
}
_ADVICE = {
    faults.UNREADABLE_IMAGE: "replace them, or remove them with their masks",
    faults.IMAGE_VALUES: "set dataset.value_range or dataset.bands, or convert them to 8 bits",
    faults.TOO_LARGE: "cut images and masks into tiles, or free memory",
    faults.CUT_OFF_IMAGE: "copy or download them again",
    faults.UNREADABLE_MASK: "replace them, or remove them, which makes their images unlabelled",
    faults.MASK_CHANNELS: (
        "save them with one channel of class indices, or list the color of each class (classes.yaml, dataset.colors)"
    ),
    faults.UNKNOWN_VALUE: "name all classes, or set the value that means ignored (classes.yaml, dataset.ignore_value)",
    faults.UNLISTED_COLOR: (
        "give them a class or ignore them (classes.yaml, dataset.ignore_color), or repaint them; typical of JPEG masks"
    ),
    faults.OTHER_SIZE: "export image and mask at the same size; a rotated photo may have an orientation tag",
    examination.NO_VALID_PIXEL: "every pixel is ignored, so nothing is learned from them",
    examination.FIRST_CLASS_ALONE: "empty, if the first class is the background",
    examination.GRAY: "read as three equal channels",
    examination.ALPHA: "transparency is dropped",
    examination.DEEP: "the upper 8 bits are used, or dataset.value_range",
    examination.SIGNED: "the lowest value of the type becomes black and the highest white, or set dataset.value_range",
    examination.WIDE: "converted by dataset.value_range",
    examination.BANDS: "the first three are used, or those of dataset.bands",
    examination.PAGES: "the first one is used",
    gathering.RANGE: "values outside become black or white",
    examination.CMYK: "converted to RGB without a color profile",
    examination.TURNED: "the tag is ignored, because masks have none: was the mask drawn on the image as stored?",
    examination.DARK: "no pixel is brighter than 23 of 255; if they are 10 or 12 bits stored as 16, stretch them",
    gathering.LEAK: "scores on them mean little; keep each on one side only",
    gathering.TEST_LEAK: "test scores on them mean little; keep each in one part only",
    gathering.SAME_PICTURE: "keep only one of each",
    gathering.UNSEEN_CLASS: "it cannot be learned; choose other labelled images, or remove the class",
    gathering.NOTHING_LABELLED: "see the errors of these files",
}


def summary(check: Check, shown: int) -> str:
    """The whole summary, for a terminal.

    Args:
        check: The result of the check.
        shown: Number of files to list for each kind of finding.
    """
    counts = ", ".join(f"{len(images)} {role}" for role in _ROLES if (images := check.of_role(role)))
    closed = len(check.dataset.test) - len(check.of_role("test"))
    counts += f", and {closed} of the test part not opened" if closed else ""
    facts = [f"{check.dataset.name}: {len(check.images)} images ({counts}), {check.dataset.num_classes} classes"]
    blocks = ["\n".join([*facts, *check.dataset.notes])]
    blocks += _findings("errors: training would stop", check.errors, shown)
    blocks += _findings("warnings: training would continue", check.warnings, shown)
    blocks += [_sizes(check), _classes(check)]
    return "\n\n".join(blocks) + "\n"


def _findings(title: str, findings: Sequence[Finding], shown: int) -> list[str]:
    if not findings:
        return []
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    lines = [f"{title} ({len(findings)})"]
    for kind, same in by_kind.items():
        advice = f": {_ADVICE[kind]}" if kind in _ADVICE else ""
        lines.append(f"  {kind} ({len(same)}){advice}")
        lines += [f"    {finding.text}{_aside(finding)}" for finding in same[:shown]]
        if len(same) > shown:
            lines.append(f"    and {len(same) - shown} more (job.shown={len(same)} lists all)")
        lines += _totals(same)
    return ["\n".join(lines)]


def _aside(finding: Finding) -> str:
    """Why a fault is only a warning: its image is unlabelled, unused, or would be skipped."""
    return f" [{finding.role}]" if finding.kind in _FAULTS and not finding.stops else ""


def _totals(findings: Sequence[Finding], most: int = 20) -> list[str]:
    """Pixels and files of each unknown value."""
    pixels: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for finding in findings:
        pixels.update(finding.counts)
        files.update(finding.counts.keys())
    lines = [f"{value}: {count} pixels in {files[value]} masks" for value, count in pixels.most_common(most)]
    return [f"    total: {'; '.join(lines)}{'; ...' if len(pixels) > most else ''}"] if lines else []


def _sizes(check: Check, most: int = 10) -> str:
    sizes = Counter(image.shape for image in check.images if image.shape is not None)
    counts = [f"{width}x{height}: {count}" for (height, width), count in sizes.most_common(most)]
    rest = f", and {len(sizes) - most} other sizes" if len(sizes) > most else ""
    return f"sizes (width x height): {', '.join(counts) or 'none readable'}{rest}"


def _classes(check: Check) -> str:
    """A table of classes: share of the valid pixels, and number of images with the class."""
    shown: tuple[Role, ...] = (
        ("labelled", "validation", "test") if check.of_role("test") else ("labelled", "validation")
    )
    sides = {role: _pixels_and_images(check.of_role(role)) for role in shown}
    columns = ["class", *(f"{role} {what}" for role in sides for what in ("pixels", "images"))]
    rows = [
        [f"{index} {name}", *(cell for side in sides.values() for cell in _cells(*side, index))]
        for index, name in enumerate(check.dataset.classes)
    ]
    rows.append(["ignored", *(cell for side in sides.values() for cell in _cells(*side, IGNORE_INDEX))])
    return text_table(columns, rows)


def _pixels_and_images(images: Sequence[Examined]) -> tuple[Counter[int], Counter[int]]:
    """Pixels of each mask value, and images with it."""
    pixels: Counter[int] = Counter()
    having: Counter[int] = Counter()
    for image in images:
        pixels.update(image.pixels or {})
        having.update((image.pixels or {}).keys())
    return pixels, having


def _cells(pixels: Counter[int], having: Counter[int], index: int) -> list[str]:
    ignored = pixels[IGNORE_INDEX] if index != IGNORE_INDEX else 0
    share = pixels[index] / max(1, pixels.total() - ignored)
    return [f"{share:.2%}" if share else "-", str(having[index])]
