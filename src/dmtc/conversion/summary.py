"""The result of a conversion as text."""

from pathlib import Path

from dmtc.conversion.converting import Converted
from dmtc.core.command import command
from dmtc.data.part_names import Part
from dmtc.report.tables import text_table

_SHOWN = 5


def conversion_summary(converted: Converted, output: Path) -> str:
    """Counts, a table of classes, what was left out and why, and the next command, for a terminal."""
    masks, unlabelled = converted.masks.total(), converted.unlabelled.total()
    images = masks + unlabelled
    lines = [
        f"{converted.format}: {_count(images, 'image')} ({masks} with masks, {unlabelled} unlabelled),"
        f" {_count(len(converted.classes), 'class', 'classes')}"
    ]
    parts: list[Part | None] = sorted({*converted.masks, *converted.unlabelled}, key=lambda one: one or "")
    if parts != [None]:
        named = (
            f"{part or 'no part'} {converted.masks[part] + converted.unlabelled[part]}"
            f" ({converted.masks[part]} with masks)"
            for part in parts
        )
        lines.append(f"parts: {', '.join(named)}")
    total = max(1, int(converted.pixels.sum()))
    names = [*(f"{place} {name}" for place, name in enumerate(converted.classes)), "ignored"]
    rows = [
        [name, f"{100 * pixels / total:.2f}%", str(count)]
        for name, pixels, count in zip(names, converted.pixels, converted.images_of, strict=True)
    ]
    lines += ["", text_table(["class", "pixels", "masks"], rows)]
    if converted.left_out or converted.faults:
        lines += ["", "left out"]
        lines += [f"  {number} {what}" for what, number in sorted(converted.left_out.items())]
        lines += [f"  {fault}" for fault in converted.faults[:_SHOWN]]
        if len(converted.faults) > _SHOWN:
            lines.append(f"  and {len(converted.faults) - _SHOWN} more damaged entries")
    check = command(f"job=check experiment=your_data dataset.root={output}")
    lines += ["", f"written to {output}; check it: {check}"]
    return "\n".join(lines)


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
