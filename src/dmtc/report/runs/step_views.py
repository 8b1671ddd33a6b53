"""Pictures of a training step: the views of its unlabelled images, their labels, and the pixels that count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmtc.core.types import Float32Array, UInt8Array
from dmtc.engine.components import Components
from dmtc.engine.looking import LookedAt, look
from dmtc.report.pictures import Panel, color_table
from dmtc.report.runs.run_data import RunFacts
from dmtc.run.folder import RunFolder

_ROWS = 2


@dataclass(frozen=True, eq=False)
class StepRow:
    """One image of a step.

    Attributes:
        id: Its name.
        phase: Name of the phase.
        step: Number of the step, from 1.
        panels: What the student and its teacher see.
    """

    id: str
    phase: str
    step: int
    panels: Sequence[Panel]

    @property
    def name(self) -> str:
        """A name for a file."""
        return f"step {self.step} of {self.phase}, {self.id}"


def step_rows(components: Components, folder: RunFolder, facts: RunFacts) -> list[StepRow]:
    """The first images of the last step of the last phase that learns from unlabelled images; empty without any.

    Raises:
        UserError: An image, weights or pseudo-labels cannot be read.
    """
    learned = [phase for phase in facts.plan if phase.name in facts.records and phase.learns_from_unlabelled]
    if not learned:
        return []
    last = next(phase for phase in reversed(learned) if phase.trainee == learned[0].trainee)
    return rows_of(look(components, folder, last.name), color_table(components.dataset))


def rows_of(seen: LookedAt, palette: UInt8Array) -> list[StepRow]:
    """Some images of a step, those first that most is pasted into; each shows another strong view, if there are any."""
    views, count = len(seen.mixed), len(seen.unlabelled)
    pasted = [(seen.mixed[row % views, row] != seen.strong[row % views, row]).mean() for row in range(count)]
    chosen = sorted(range(count), key=lambda row: (-pasted[row], row))[:_ROWS]
    return [
        StepRow(seen.unlabelled[row], seen.phase, seen.step, _panels(seen, row, row % views, palette)) for row in chosen
    ]


def _panels(seen: LookedAt, row: int, view: int, palette: UInt8Array) -> list[Panel]:
    weak, mixed, weight = seen.weak[row], seen.mixed[view, row], seen.selected[view, row]
    panels = [Panel("weak view", weak, is_photo=True)]
    if seen.truth is not None:
        panels.append(Panel("truth", palette[seen.truth[row]]))
    if any(not np.array_equal(of_view, seen.weak) for of_view in seen.strong):
        panels.append(Panel("strong view", seen.strong[view, row], is_photo=True))
    if not np.array_equal(seen.strong, seen.mixed):
        panels.append(Panel("mixed", mixed, is_photo=True))
    return [
        *panels,
        Panel("label", palette[seen.label[view, row]]),
        Panel("confidence: dark is uncertain", gray(seen.confidence[view, row]), is_photo=True),
        Panel(f"selected: {(weight > 0).mean():.0%}", _lit(mixed, weight), is_photo=True),
        Panel("student's prediction", palette[seen.prediction[view, row]]),
    ]


def gray(share: Float32Array) -> UInt8Array:
    """Shares in [0, 1], (H, W), as uint8 (H, W, 3): 0 is black."""
    return np.repeat((255 * share[..., None]).astype(np.uint8), 3, axis=2)


def _lit(image: UInt8Array, weight: Float32Array) -> UInt8Array:
    """The image, nearly white where nothing is learned."""
    light = (weight / max(float(weight.max()), 1e-9))[..., None]
    return (light * image + (1 - light) * (215 + 0.12 * image)).astype(np.uint8)
