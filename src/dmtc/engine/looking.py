"""What a training step sees: its images, views, labels and the pixels that count, with the weights after its phase.

All draws of a step have addresses, so its views are made again as they were; the labels are those that the phase's last
weights give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmtc.batches import CropRequest, Loader, training_requests
from dmtc.batches.mixing.base import ExtraRows
from dmtc.core.errors import ConfigError, UserError
from dmtc.core.randomness import generator_of
from dmtc.core.types import Batch, Float32Array, UInt8Array
from dmtc.engine.components import Components
from dmtc.engine.new_step import new_step
from dmtc.engine.passes import LABELLED, WEAK, Block, strong
from dmtc.engine.student import Student
from dmtc.evaluation.predictors import most_probable
from dmtc.losses.selection import Pixels
from dmtc.losses.terms import pixel_weights, selected_weights
from dmtc.models import SegmentationModel
from dmtc.run.folder import RunFolder
from dmtc.run.origin import load_network
from dmtc.run.ranking import images_of
from dmtc.schedule import Phase


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LookedAt:
    """A training step with U unlabelled and L labelled images, seen with the weights after its phase.

    The student learns from V views of every unlabelled image: the strong ones or, without any, the weak one.

    Attributes:
        phase: Name of the phase.
        step: Number of the step, from 1.
        unlabelled: Names of the unlabelled images.
        weak: uint8 (U, H, W, 3), RGB: their weak views.
        weak_label: uint8 (U, H, W), the teacher's labels of them; 255 where there are none.
        weak_confidence: float32 (U, H, W) in [0, 1], the teacher's.
        truth: uint8 (U, H, W), class or 255; None if it is unknown or not to be looked at. Nothing is learned from it.
        strong: uint8 (V, U, H, W, 3): the views before mixing.
        mixed: uint8 (V, U, H, W, 3): the views as the student sees them.
        label: uint8 (V, U, H, W), the labels it learns from; 255 where there are none.
        confidence: float32 (V, U, H, W) in [0, 1].
        selected: float32 (V, U, H, W), the weight of each pixel; 0 where nothing is learned. A selection that learns as
            it goes is as at the start of the phase.
        prediction: uint8 (V, U, H, W), classes that the network predicts, in evaluation mode.
        labelled: Names of the labelled images.
        labelled_image: uint8 (L, H, W, 3), RGB, as the student sees them.
        labelled_label: uint8 (L, H, W), class or 255.
    """

    phase: str
    step: int
    unlabelled: Sequence[str]
    weak: UInt8Array
    weak_label: UInt8Array
    weak_confidence: Float32Array
    truth: UInt8Array | None
    strong: UInt8Array
    mixed: UInt8Array
    label: UInt8Array
    confidence: Float32Array
    selected: Float32Array
    prediction: UInt8Array
    labelled: Sequence[str]
    labelled_image: UInt8Array
    labelled_label: UInt8Array


def look(components: Components, folder: RunFolder, phase_name: str, step: int | None = None) -> LookedAt:
    """Look at a step of a finished phase.

    Args:
        components: The run's components.
        folder: Its folder.
        phase_name: For example "r0-a".
        step: Number of the step, from 1; by default the last one of the phase.

    Raises:
        ConfigError: There is no such phase or step.
        DataError: An image or pseudo-label cannot be read.
        WeightsError: The phase is not finished.
    """
    plan = {phase.name: phase for phase in components.plan}
    if phase_name not in plan:
        raise ConfigError(f"no phase {phase_name!r} in this run; it has {', '.join(plan)}")
    phase = plan[phase_name]
    step = phase.steps if step is None else step
    if not 1 <= step <= phase.steps:
        raise ConfigError(f"step should be from 1 to {phase.steps}, the length of phase {phase.name}, but is {step}")
    phases = [plan[name] for name in phase.together] or [phase]
    whole = new_step(components, phases, [_network(components, folder, each) for each in phases])[0]
    requests, batch = _read(components, folder, phase, step - 1, whole.showing.extra_rows)
    index, number = phases.index(phase), step - 1
    with torch.no_grad():
        mixed, unmixed = (_whole(whole.views(number, batch, with_mixing)[index]) for with_mixing in (True, False))
        student = whole.students[index]
        student.model.eval()
        views = [strong(view) for view in range(whole.showing.views.strong) if strong(view) in mixed] or [WEAK]
        seen = [_seen(components, student, mixed[view], number / phase.steps) for view in views]
    weak, labelled = mixed[WEAK], mixed[LABELLED]
    return LookedAt(
        phase=phase.name,
        step=step,
        unlabelled=weak.ids,
        weak=_image(weak.image),
        weak_label=_classes(weak.label),
        weak_confidence=weak.confidence.cpu().numpy(),
        truth=_truth(components, requests[: len(weak.ids)], weak.ids),
        strong=np.stack([_image(unmixed[view].image) for view in views]),
        mixed=np.stack([_image(mixed[view].image) for view in views]),
        label=np.stack([_classes(mixed[view].label) for view in views]),
        confidence=np.stack([mixed[view].confidence.cpu().numpy() for view in views]),
        selected=np.stack([weight for weight, _ in seen]),
        prediction=np.stack([prediction for _, prediction in seen]),
        labelled=labelled.ids,
        labelled_image=_image(labelled.image),
        labelled_label=_classes(labelled.label),
    )


def _whole(blocks: dict[Block, Batch]) -> dict[Block, Batch]:
    """The blocks, with an empty one for the weak views of a step without unlabelled images."""
    return {WEAK: blocks[LABELLED].take(slice(0)), **blocks}


def _network(components: Components, folder: RunFolder, phase: Phase) -> SegmentationModel:
    """An instance of its own, as passes in training mode change its statistics."""
    model = components.model(phase.trainee).to(components.device)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # not in torch's stubs
    load_network(folder, model, phase.name)
    return model.train()


def _read(
    components: Components, folder: RunFolder, phase: Phase, number: int, extra: ExtraRows | None
) -> tuple[list[CropRequest], Batch]:
    """The requests of a step and what they give."""
    pseudo_labels = None
    if phase.label_from is not None and phase.label_ratio is not None:
        pseudo_labels = folder.store(phase.label_from).select(phase.label_ratio)
    unlabelled = images_of(folder, phase, components.split.unlabelled)
    labelled, seed = components.split.subsets[phase.trainee], components.config["seed"]
    requests = next(training_requests(phase, labelled, unlabelled, pseudo_labels, seed, number, extra))
    loader = Loader(components.dataset, components.augment, 0, components.device, components.on_error)
    return requests, next(loader.crops([requests]))


def _seen(components: Components, student: Student, view: Batch, progress: float) -> tuple[Float32Array, UInt8Array]:
    """The weight of each pixel of a view, and what the network predicts for it."""
    if not view.ids:
        return np.zeros(view.label.shape, np.float32), np.zeros(view.label.shape, np.uint8)
    device, precision = components.device.type, components.precision
    with torch.autocast(device, precision, enabled=precision.itemsize < 4):
        logits = student.model(view.image).float()
    pixels = Pixels(view.label, view.confidence, logits.shape[1], view.entropy, progress)
    active = list(student.terms)
    weight = selected_weights(active, pixels) * pixel_weights(active, logits, view.label, view.confidence)
    return weight.float().cpu().numpy(), _classes(most_probable(logits))


def _truth(components: Components, requests: Sequence[CropRequest], ids: Sequence[str]) -> UInt8Array | None:
    """The masks of unlabelled images under the crops of a step; None if any is unknown."""
    dataset = components.dataset
    is_known = components.run.score_pseudo_labels and all(id in dataset.masks for id in ids)
    if not ids or not is_known:
        return None
    try:
        crops = [
            components.augment(dataset.sample(id), generator_of(*request.address))
            for id, request in zip(ids, requests, strict=True)
        ]
    except UserError:
        return None
    return np.stack([crop.label for crop in crops])


def _image(images: Tensor) -> UInt8Array:
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _classes(labels: Tensor) -> UInt8Array:
    return labels.to(torch.uint8).cpu().numpy()
