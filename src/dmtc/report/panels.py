"""Images as networks and teachers see them after a phase, for loggers that draw."""

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.engine.components import Components
from dmtc.engine.context import RunContext
from dmtc.engine.looking import look
from dmtc.evaluation import Predictor
from dmtc.evaluation.disagreement import disagreement_of
from dmtc.evaluation.quality import PseudoLabelScores
from dmtc.losses.terms import terms_of_stage
from dmtc.run.folder import RunFolder
from dmtc.schedule import Phase
from dmtc.tracking import Panel
from dmtc.tracking.phase_record import PhaseRecord

_LONGEST_SIDE = 640
"""Pixels; larger images are drawn smaller, as every panel is sent again after every phase."""


class Panels:
    """Draws what the network of a phase sees, after the phase.

    Args:
        context: Of the run.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def __call__(self, phase: Phase, record: PhaseRecord, count: int) -> tuple[list[Panel], list[Panel]]:
        """Draw panels of a phase that has just been trained.

        Returns:
            Of at most `count` images that are the same after every phase, or of the last step of a long phase whose
            teacher labels within the step; and of at most as many whose pseudo-labels are the worst.
        """
        context = self._context
        with context.activity.during(f"drawing panels of {phase.name}", context.memory_of_whole_images()):
            predict = context.networks.predictor(context.networks.after(phase.name))
            of_phase = _PhasePanels(phase, context.components, context.folder, predict)
            worst = of_phase.worst(count, record.pseudo)
            if phase.teacher is not None and phase.stage == "online":
                return _step_panels(context.components, context.folder, phase, count), worst
            return of_phase.fixed(count), worst


class _PhasePanels:
    def __init__(self, phase: Phase, components: Components, folder: RunFolder, predict: Predictor) -> None:
        self._phase = phase
        self._components = components
        self._predict = predict
        self._store = self._pseudo_labels = None
        if phase.label_from is not None and phase.label_ratio is not None:
            self._store = folder.store(phase.label_from)
            self._pseudo_labels = self._store.select(phase.label_ratio)

    def fixed(self, count: int) -> list[Panel]:
        """Images that are the same after every phase: unlabelled ones, or of the validation where none are used."""
        learns_from_unlabelled = any(phase.learns_from_unlabelled for phase in self._components.plan)
        ids = self._components.split.unlabelled if learns_from_unlabelled else self._components.dataset.val
        count = min(count, len(ids))
        return self._made({ids[i * len(ids) // count]: None for i in range(count)})

    def worst(self, count: int, pseudo: PseudoLabelScores | None) -> list[Panel]:
        """The images that `score_pseudo_labels` found the worst; none without pseudo-labels or truth."""
        return self._made({one["id"]: one["wrong"] for one in pseudo.worst[:count]} if pseudo else {})

    def _made(self, wrong: Mapping[str, float | None]) -> list[Panel]:
        panels = (self._panel(id, share) for id, share in wrong.items())
        return [panel for panel in panels if panel is not None]

    def _panel(self, id: str, wrong: float | None) -> Panel | None:
        """None for an image that cannot be read: pictures never stop a training."""
        dataset = self._components.dataset
        try:
            image = dataset.image(id)
            label = np.full(image.shape[:2], IGNORE_INDEX, np.uint8)
            confidence = np.zeros(image.shape[:2], np.float32)
            labelled = self._store is not None and id in self._store
            if self._pseudo_labels is not None and labelled:
                label, confidence = self._pseudo_labels.read(id)
        except DataError:
            return None
        terms = terms_of_stage(self._components.terms, self._phase.stage)
        disagreement = disagreement_of(self._predict, terms, image, label, confidence, self._components.device)
        panel = Panel(id=id, image=image, truth=self._truth(id), prediction=disagreement.label, wrong=wrong)
        if labelled:
            panel = replace(panel, pseudo_label=label, confidence=confidence, weight=disagreement.weight)
        return _fitted(panel)

    def _truth(self, id: str) -> UInt8Array | None:
        dataset, is_unlabelled = self._components.dataset, id not in self._components.dataset.val
        if id not in dataset.masks or (is_unlabelled and not self._components.run.score_pseudo_labels):
            return None
        try:
            return dataset.mask(id)
        except DataError:
            return None


def _step_panels(components: Components, folder: RunFolder, phase: Phase, count: int) -> list[Panel]:
    """What the student saw in the last step of a phase; none if an image cannot be read."""
    try:
        seen = look(components, folder, phase.name)
    except DataError:
        return []
    panels = [
        Panel(
            id=id,
            image=seen.mixed[0, row],
            truth=None,
            prediction=seen.prediction[0, row],
            pseudo_label=seen.label[0, row],
            confidence=seen.confidence[0, row],
            weight=seen.selected[0, row],
        )
        for row, id in enumerate(seen.unlabelled[:count])
    ]
    return [_fitted(panel) for panel in panels]


def _fitted(panel: Panel) -> Panel:
    """The panel, smaller if need be."""
    height, width = panel.image.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (round(scale * width), round(scale * height))
    names = ("truth", "prediction", "pseudo_label", "confidence", "weight")
    maps = {name: of for name in names if (of := getattr(panel, name)) is not None}
    maps = {name: cv2.resize(of, size, interpolation=cv2.INTER_NEAREST) for name, of in maps.items()}
    return replace(panel, image=cv2.resize(panel.image, size, interpolation=cv2.INTER_AREA), **maps)
