"""Pseudo-labels beside their truth, their student and those of the round before, as panels of pictures."""

import numpy as np
import numpy.typing as npt

from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.evaluation.disagreement import Disagreement
from dmtc.pseudo import PseudoLabel
from dmtc.report.pictures import Panel
from dmtc.report.runs.step_views import gray

_Mask = npt.NDArray[np.bool_]

_SAME, _TEACHER, _STUDENT = (217, 217, 217), (0, 114, 178), (230, 153, 0)
_RIGHT, _WRONG, _FIXED = (204, 222, 235), (214, 39, 40), (0, 158, 115)


def laboratory_panels(pseudo: PseudoLabel, student: Disagreement, palette: UInt8Array) -> list[list[Panel]]:
    """Two rows of one image: what is kept of its label and what of that is wrong; confidence, student and weight."""
    kept = pseudo.label != IGNORE_INDEX
    wins = student.wins(pseudo.label, pseudo.confidence) & kept
    opinions = _marked((kept, _SAME), (student.disagrees(pseudo.label) & kept, _TEACHER), (wins, _STUDENT))
    above = [Panel(pseudo.id, pseudo.image, is_photo=True), _kept(pseudo, palette), *_against_truth(pseudo, palette)]
    weight = np.where(kept, student.weight, 0).astype(np.float32)
    below = [
        Panel("confidence: dark is uncertain", gray(pseudo.confidence), is_photo=True),
        Panel("student", palette[student.label]),
        Panel(f"blue: disagrees, orange: wins {_share(wins, kept)}", opinions),
        Panel("weight in the loss", gray(weight / max(float(weight.max()), 1e-9)), is_photo=True),
    ]
    return [above, below]


def label_panels(pseudo: PseudoLabel, palette: UInt8Array) -> list[Panel]:
    """One row of an image: its pseudo-label, the truth if it is known, and the confidence."""
    return [
        Panel(pseudo.id, pseudo.image, is_photo=True),
        _kept(pseudo, palette),
        *_against_truth(pseudo, palette),
        Panel("confidence: dark is uncertain", gray(pseudo.confidence), is_photo=True),
    ]


def change_panels(old: PseudoLabel, new: PseudoLabel, teachers: tuple[str, str], palette: UInt8Array) -> list[Panel]:
    """One row of an image: a teacher's predictions before and after a round, and which pixels it fixed or broke."""
    changed = old.label != new.label
    row = [
        Panel(new.id, new.image, is_photo=True),
        *(Panel(f"labels of {name}", palette[of.label]) for name, of in zip(teachers, (old, new), strict=True)),
    ]
    everywhere = np.ones_like(changed)
    if new.truth is None:
        title = f"blue: changed {_share(changed, everywhere)}"
        return [*row, Panel(title, _marked((everywhere, _SAME), (changed, _TEACHER)))]
    known = new.truth != IGNORE_INDEX
    fixed, broken = (changed & known & (of.label == new.truth) for of in (new, old))
    marked = _marked((everywhere, _SAME), (changed, _TEACHER), (fixed, _FIXED), (broken, _WRONG))
    title = f"green: fixed {_share(fixed, known)}, red: broken {_share(broken, known)}"
    return [*row, Panel("truth", palette[new.truth]), Panel(title, marked)]


def _kept(pseudo: PseudoLabel, palette: UInt8Array) -> Panel:
    return Panel(f"kept: {(pseudo.label != IGNORE_INDEX).mean():.0%}", palette[pseudo.label])


def _against_truth(pseudo: PseudoLabel, palette: UInt8Array) -> list[Panel]:
    if pseudo.truth is None:
        return []
    known = (pseudo.label != IGNORE_INDEX) & (pseudo.truth != IGNORE_INDEX)
    wrong = known & (pseudo.label != pseudo.truth)
    title = f"red: wrong, {_share(wrong, known)} of kept"
    return [Panel("truth", palette[pseudo.truth]), Panel(title, _marked((known, _RIGHT), (wrong, _WRONG)))]


def _marked(*masks: tuple[_Mask, tuple[int, int, int]]) -> UInt8Array:
    """The masks in their colors, later ones above earlier ones, on white."""
    picture = np.full((*masks[0][0].shape, 3), 255, np.uint8)
    for mask, color in masks:
        picture[mask] = color
    return picture


def _share(part: _Mask, whole: _Mask) -> str:
    return f"{part.sum() / max(1, int(whole.sum())):.0%}"
