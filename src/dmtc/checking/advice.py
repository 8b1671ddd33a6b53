"""Suggested crop, batch and lengths for a data set on this machine, as settings for the command line."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import torch

from dmtc.checking.gathering import SETTINGS, Check
from dmtc.cost import Memory
from dmtc.cost.memory import free_bytes
from dmtc.cost.steps import StageTraining
from dmtc.cost.timing import Timer
from dmtc.engine.components import Components
from dmtc.machine.settings import multiplies_in_bfloat16
from dmtc.schedule import Phase
from dmtc.schedule.phase import trainings_of

_LARGEST = {"cpu": (256, 320), "cuda": (512, 512)}
"""Height and width of the largest suggested crop by device type; other types use the CPU's."""

_USED = 0.8  # share of the free memory that a step may take, leaving some for other programs
_MEASURED = (128, 128)
_CELL = 32
_LARGE_PIXELS = 2_000_000


@dataclass(frozen=True, slots=True)
class Advice:
    """Settings for a data set on a machine.

    Attributes:
        title: The data set and the machine.
        overrides: The settings, as on the command line.
        reasons: The reasons, one line each.
    """

    title: str
    overrides: Sequence[str]
    reasons: Sequence[str]

    def __str__(self) -> str:
        return (
            "\n".join([self.title, f"  {' '.join(self.overrides)}", *(f"  {reason}" for reason in self.reasons)]) + "\n"
        )


def advise(components: Components, check: Check) -> Advice | None:
    """Suggest crop, batch and lengths; None if no labelled image can be read, or the current settings have a fault.

    The memory of a step is counted on a small crop and scaled by the crop's pixels. Suggests the largest crop that is
    reasonable for the device and the images, and the recipe's own batch, if these fit in the free memory; otherwise
    splits the batch (`run.accumulate`), and finally shrinks the crop.
    """
    shapes = [image.shape for image in check.of_role("labelled") if image.shape is not None]
    if not shapes or any(finding.kind == SETTINGS for finding in check.errors):
        return None
    usual = (median_low(height for height, _ in shapes), median_low(width for _, width in shapes))
    phases = {phase.stage: phase for phase in components.plan}
    images = max(phase.labelled_batch + phase.pseudo_batch for phase in phases.values())
    free = free_bytes(components.device)
    memory = _memory(components)
    largest = _LARGEST.get(components.device.type, _LARGEST["cpu"])
    crop = [max(_CELL, min(side, most) // _CELL * _CELL) for side, most in zip(usual, largest, strict=True)]
    accumulate, splits = 1, not any(_labels_by_own_pass(components, phase) for phase in phases.values())
    while free is not None and _bytes(memory, images, accumulate, crop) > _USED * free:
        if splits and images // (2 * accumulate) >= 2:  # batch normalization needs two images
            accumulate *= 2
        elif max(crop) > 2 * _CELL:
            crop = [max(_CELL, side // 2 // _CELL * _CELL) for side in crop]
        else:
            break
    need = _bytes(memory, images, accumulate, crop)
    fits = free is None or need <= _USED * free
    split = components.split
    room = "free memory unknown" if free is None else f"{_gigabytes(free)} of memory free"
    title = (
        f"suggested for {len(split.labelled)} labelled and {len(split.unlabelled)} unlabelled images, usually"
        f" {usual[1]}x{usual[0]}, on {components.device} ({room})"
    )
    overrides = [f"dataset.augment.crop=[{crop[0]},{crop[1]}]", f"run.accumulate={accumulate}"]
    for stage, phase in phases.items():
        overrides.append(f"schedule.{stage}.labelled_batch={phase.labelled_batch}")
        overrides += [f"schedule.{stage}.{_name_of_batch(phase)}={phase.pseudo_batch}"] * bool(phase.pseudo_batch)
    by_count = [note.partition(",") for note in components.choices if note.startswith("schedule.")]
    overrides += [setting for setting, _, _ in by_count]
    reasons = [_crop_reason(crop, usual, largest, components)]
    reasons.append(
        f"batch: {images} images per step{f' in {accumulate} parts' if accumulate > 1 else ''} take about"
        f" {_gigabytes(need)}, estimated{'' if fits else ': more than is free; choose a smaller model/backbone'}"
    )
    if _gains_by_bfloat16(components):
        overrides.append("run.precision=bfloat16")
        reasons.append(
            "precision: this processor multiplies in bfloat16, which trains a frozen backbone's heads faster"
        )
    reasons += [line for phase in phases.values() if (line := _views_reason(components, phase))]
    if not splits:
        reasons.append(
            "parts: run.accumulate is 1, because the labels come from the student's own pass over the whole batch"
        )
    reasons += [f"length: {setting},{reason}" for setting, _, reason in by_count]
    if not by_count:
        steps = ", ".join(f"{steps} steps of the {stage}" for stage, steps in _steps(components).items())
        reasons.append(f"length: the recipe's own, {steps}; experiment=your_data chooses by the number of images")
    if usual[0] * usual[1] > _LARGE_PIXELS:
        reasons.append(
            f"size: a crop covers {crop[0] * crop[1] / (usual[0] * usual[1]):.1%} of an image, and whole images are"
            " scored: shrink images (masks with nearest neighbor) to about 1000 pixels unless small objects matter"
        )
    return Advice(title, overrides, reasons)


def _gains_by_bfloat16(components: Components) -> bool:
    """On a CPU; a step that also trains the backbone takes longer in bfloat16 (docs/results.md)."""
    frozen = components.config["model"]["tuning"]["name"] == "frozen"
    wide = components.device.type == "cpu" and components.precision == torch.float32
    return frozen and wide and multiplies_in_bfloat16()


def _name_of_batch(phase: Phase) -> str:
    """The setting that is the number of unlabelled images in a step."""
    return "unlabelled_batch" if phase.stage == "online" else "pseudo_batch"


def _labels_by_own_pass(components: Components, phase: Phase) -> bool:
    """Whether a teacher in the step uses the student's pass, which then has to be over the whole batch."""
    return phase.teacher is not None and components.teacher.runs == "student"


def _views_reason(components: Components, phase: Phase) -> str | None:
    """How many images a step passes through a network, if these are more than are in its batch."""
    batch = phase.labelled_batch + phase.pseudo_batch
    passed = components.views.student_images(phase.labelled_batch, phase.pseudo_batch) if phase.teacher else batch
    if passed == batch:
        return None
    return f"views: of the {batch} images of a step of {phase.name}, {passed} views pass forward and backward"


def _memory(components: Components) -> Memory:
    """Memory of the stage that needs the most, for crops of `_MEASURED` pixels."""
    models = {letter: components.model(letter).to(components.device) for letter in components.networks}
    for model in models.values():
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # not in torch's stubs
    trainings = {phases[0].stage: phases for phases in trainings_of(components.plan)}.values()
    timer = Timer(components.device, 1, 0.0)
    counted = [
        StageTraining(components, [models[phase.trainee] for phase in phases], phases, None, timer, _MEASURED).memory()
        for phases in trainings
    ]
    return max(counted, key=lambda memory: memory.per_image)


def _bytes(memory: Memory, images: int, accumulate: int, crop: Sequence[int]) -> int:
    share = crop[0] * crop[1] / (_MEASURED[0] * _MEASURED[1])
    scaled = Memory(fixed=memory.fixed, per_image=round(memory.per_image * share))
    return scaled.estimate(-(-images // accumulate))


def _crop_reason(crop: Sequence[int], usual: tuple[int, int], largest: tuple[int, int], components: Components) -> str:
    size = f"crop: {crop[0]} high, {crop[1]} wide"
    if all(side <= most for side, most in zip(usual, largest, strict=True)):
        return f"{size}, as large as images usually are, in multiples of {_CELL}"
    device = components.device.type
    return f"{size}, in multiples of {_CELL}; on {device} no more than {largest[0]} by {largest[1]} is suggested"


def _steps(components: Components) -> dict[str, int]:
    steps: Counter[str] = Counter()
    for phase in components.plan:
        steps[phase.stage] += phase.steps
    return dict(steps)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
