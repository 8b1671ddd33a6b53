"""Compares the labels of a teacher within the step with the truth, where it is known. For reports only."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from dmtc.core.errors import UserError
from dmtc.core.randomness import generator_of
from dmtc.core.types import IGNORE_INDEX, Batch, Sample
from dmtc.engine.components import Components
from dmtc.engine.step import Step
from dmtc.evaluation.quality import PseudoLabelScores
from dmtc.evaluation.taught import TaughtQuality
from dmtc.losses.selection import ClassShare, Pixels
from dmtc.losses.terms import selected_weights
from dmtc.machine.processes import Processes
from dmtc.schedule import Phase


class LabelScorer:
    """Has a step's teacher label some unlabelled images whose masks are known, and compares.

    The images are the same at every scoring of a run. No mask is opened if `run.score_pseudo_labels` is false, or if
    nobody labels within the step.

    Args:
        components: The recipe.
        step: The step.
        processes: Processes that share the images. Each labels its batches by itself, so that results do not depend on
            their number.
    """

    def __init__(self, components: Components, step: Step, processes: Processes) -> None:
        self._components, self._step, self._processes = components, step, processes

    def scores(self, student: int, progress: float) -> PseudoLabelScores | None:
        """The quality of the labels of a student; None if no truth is known.

        Args:
            student: Its number in the step.
            progress: The done share of the phase, in [0, 1).
        """
        components, step = self._components, self._step
        if not components.run.score_pseudo_labels or not step.showing.teacher.in_step:
            return None
        quality = TaughtQuality(components.dataset.num_classes)
        for batch, truth in self._images():
            taught = step.teaching.of_whole(batch, student, step.students)
            weight = self._weights(student, taught, progress)
            quality.add(batch.ids, taught.label, taught.confidence, weight, truth)
        return quality.scores(self._processes)

    @cached_property
    def _ids(self) -> list[str]:
        """The images."""
        components = self._components
        known = [id for id in components.split.unlabelled if id in components.dataset.masks]
        count = min(components.run.scored_unlabelled, len(known))
        rng = generator_of(components.config["seed"], "unlabelled images to score")
        return [known[place] for place in sorted(rng.choice(len(known), count, replace=False))] if count else []

    def _images(self) -> Iterator[tuple[Batch, Tensor]]:
        """This process's images, ready to be labelled, and their truth; those that cannot be read are left out."""
        size, device = self._components.run.label_batch, self._components.device
        own = self._processes.share(self._ids, size)
        for start in range(0, len(own), size):
            samples = [sample for id in own[start : start + size] if (sample := self._sample(id)) is not None]
            for _, group in groupby(samples, key=lambda sample: sample.image.shape):
                of_one_size = list(group)
                image = torch.from_numpy(np.stack([sample.image for sample in of_one_size])).permute(0, 3, 1, 2)
                truth = torch.from_numpy(np.stack([sample.label for sample in of_one_size])).long()
                ids = tuple(sample.id for sample in of_one_size)
                no_label, labelled = torch.zeros_like(truth), torch.ones(len(ids), dtype=torch.bool)
                yield Batch(image, no_label, no_label.float(), labelled, ids).to(device), truth

    def _sample(self, id: str) -> Sample | None:
        try:
            return self._components.dataset.sample(id)
        except UserError:  # a mere report must not stop training
            return None

    def _weights(self, student: int, taught: Batch, progress: float) -> Tensor:
        """The weight of each pixel in the loss."""
        label, share, classes = taught.label, self._step.showing.share, self._components.dataset.num_classes
        if share is not None and share < 1:
            kept = ClassShare(start=share, end=share)(Pixels(label, taught.confidence, classes))
            label = label.masked_fill(~kept, IGNORE_INDEX)
        pixels = Pixels(label, taught.confidence, classes, taught.entropy, progress)
        return selected_weights(self._step.students[student].terms, pixels)


def values_of(scores: PseudoLabelScores) -> dict[str, float]:
    """The known shares of a report, for the log of a scoring."""
    named = {f"pseudo_{name}": getattr(scores, name) for name in ("coverage", "accuracy", "miou")}
    return {name: value for name, value in named.items() if value is not None}


def scored_line(phase: Phase, step: int, values: Mapping[str, float]) -> str:
    """A line about a scoring of a phase whose teacher labels within the step."""

    def share(name: str, text: str) -> list[str]:
        return [f"{values[name]:.1%} {text}"] if name in values else []

    networks = [
        f"{which} {100 * values[f'{which}_miou']:.1f}" for which in ("average", "student") if f"{which}_miou" in values
    ]
    miou = f"mIoU {', '.join(networks)}" if networks else f"mIoU {100 * values['miou']:.1f}"
    labels = ", ".join([*share("pseudo_coverage", "kept"), *share("pseudo_accuracy", "of them right")])
    return f"{phase.name} after {step} steps: {miou}{f'; labels: {labels}' if labels else ''}"
