"""The step of a phase, as its config says."""

import copy
from collections.abc import Sequence

from torch import nn

from dmtc.engine.average import AveragedWeights
from dmtc.engine.components import Components
from dmtc.engine.snapshots import StudentSnapshots
from dmtc.engine.step import Showing, Step
from dmtc.engine.student import Student
from dmtc.losses.terms import ActiveTerm, takes_snapshots, terms_of_stage
from dmtc.machine.processes import ALONE, Processes
from dmtc.models import SegmentationModel
from dmtc.pseudo.teachers import Teacher
from dmtc.schedule import OPTIMIZERS, RATES, Phase
from dmtc.schedule.rates import RateCurve, warmed_up


def new_step(
    components: Components, phases: Sequence[Phase], models: Sequence[SegmentationModel], processes: Processes = ALONE
) -> tuple[Step, RateCurve]:
    """The step of phases that learn together, and the curve of their learning rate.

    Args:
        components: The recipe.
        phases: The phases, usually one.
        models: Their networks, on the device.
        processes: Processes that take the steps together.
    """
    phase, schedule = phases[0], components.config["schedule"]
    curve = RATES.build(schedule["rate"], "schedule.rate", steps=phase.steps)
    names = [each.trainee for each in phases] if len(phases) > 1 else [""]
    students = [
        new_student(components, each, model, name) for each, model, name in zip(phases, models, names, strict=True)
    ]
    step = Step(
        students,
        batch_size=phase.labelled_batch + phase.pseudo_batch,
        address=(components.config["seed"], phase.name),
        showing=showing_of(components, phase),
        precision=components.precision,
        accumulate=components.run.accumulate,
        drop_nonfinite=components.run.on_nonfinite == "skip",
        processes=processes,
    )
    return step, warmed_up(curve, schedule["warmup"])


def new_student(components: Components, phase: Phase, model: SegmentationModel, name: str = "") -> Student:
    """A network to train, with its optimizer and the average of its weights."""
    optimizer = OPTIMIZERS.build(
        components.config["schedule"]["optimizer"],
        "schedule.optimizer",
        parameters=model.parameter_groups(),
        learning_rate=phase.learning_rate,
    )
    teacher = components.teacher
    average = None
    if teacher.decay is not None:
        average = AveragedWeights(model, teacher.decay, teacher.copy_steps, teacher.warmup, teacher.buffers)
    terms, snapshots = _own_terms(components, phase), None
    if phase.teacher is not None and teacher.snapshot_rule is not None and takes_snapshots(terms):
        snapshots = StudentSnapshots(model, teacher.snapshot_rule.of(phase.steps))
    return Student(model, terms, optimizer, average, name, teacher.score, snapshots)


def showing_of(components: Components, phase: Phase) -> Showing:
    """What the steps of a phase show, and who labels it."""
    teacher: Teacher = components.teacher if phase.teacher is not None else components.teacher.for_stored_labels()
    share = phase.label_ratio if phase.teacher is not None else None
    return Showing(
        unlabelled=phase.pseudo_batch,
        teacher=teacher,
        share=share,
        context=components.context if teacher.in_step else None,
        views=components.views,
        mixer=components.mixer,
    )


def _own_terms(components: Components, phase: Phase) -> list[ActiveTerm]:
    """The phase's terms; those that learn as they go start over, and each student has its own."""
    active = [
        term._replace(loss=copy.deepcopy(term.loss)) if isinstance(term.loss, nn.Module) else term
        for term in terms_of_stage(components.terms, phase.stage)
    ]
    for term in active:
        if isinstance(term.loss, nn.Module):
            term.loss.to(components.device)
    return active
