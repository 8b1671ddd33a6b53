"""Measuring all parts of a recipe, and estimating the whole plan."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dmtc.core.errors import ConfigError
from dmtc.cost.findings import Cost, PassCost, PlanPart, StageCost
from dmtc.cost.loading import crops_per_s
from dmtc.cost.memory import free_bytes
from dmtc.cost.passes import WholeImages, truth_seconds
from dmtc.cost.steps import StageTraining
from dmtc.cost.timing import Timer
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.machine.allocator import keep_freed_memory
from dmtc.machine.settings import pick_workers
from dmtc.pseudo import PseudoLabelStore
from dmtc.run.folder import RunFolder
from dmtc.schedule import Phase
from dmtc.schedule.phase import trainings_of


def measure_cost(
    components: Components,
    *,
    steps: int,
    seconds: float,
    batches: Sequence[int],
    report: Callable[[str], None],
    network: str | None = None,
) -> Cost:
    """Measure the parts of a recipe.

    Args:
        components: The recipe; its data set must be there, its starting weights need not.
        steps: Maximum number of steps timed per turn.
        seconds: Time limit of each part, exceeded by at most one repetition.
        batches: Batch sizes to measure besides the recipe's own.
        report: Called with each part about to be measured; all of them can take minutes.
        network: Letter of the network to measure, by default the first; the others are assumed to cost the same.

    Raises:
        ConfigError: The plan has no such network.
    """
    network = components.networks[0] if network is None else network
    if network not in components.networks:
        raise ConfigError(f"job.network should be one of {', '.join(components.networks)}, but is {network!r}")
    others = [each for each in components.networks if components.model_spec(each) != components.model_spec(network)]
    if others:
        report(
            f"measuring network {network}; {', '.join(others)} has another model but is assumed to cost the same "
            f"(measure it with job.network={others[0]})"
        )
    if components.device.type == "cpu":
        keep_freed_memory()  # as a run does
    timer = Timer(components.device, steps, seconds)
    free, workers = (
        free_bytes(components.device),
        pick_workers(components.run.workers, components.device, components.processes),
    )
    trainings = {phases[0].stage: phases for phases in trainings_of(components.plan)}
    with tempfile.TemporaryDirectory() as scratch:
        networks = Networks(components, RunFolder(scratch))
        model = networks.instance(network)
        whole = WholeImages(components, networks.predictor(model), workers, timer)
        report("measuring: scoring whole images")
        evaluation = whole.evaluation()
        labelling, labels, labelled = None, None, ()
        truth = None
        if any(phase.label_from for phase in components.plan):
            report("measuring: labelling whole images")
            store = PseudoLabelStore(Path(scratch) / "labels")
            labelling, labelled = whole.labelling(store)
            labels = store.select(1.0)
            truth = truth_seconds(components, store, labelled, timer)
        stages = []
        for phases in trainings.values():
            phase = phases[0]
            report(f"measuring: steps of the {phase.stage}")
            read = crops_per_s(
                components,
                phase,
                labelled if phase.label_from else components.split.unlabelled,
                labels if phase.label_from else None,
                timer,
            )
            together = [model, *(networks.instance(other.trainee) for other in phases if other.trainee != network)]
            stages.append(StageTraining(components, together[: len(phases)], phases, free, timer).cost(batches, read))
    return Cost(
        matrix_rate=_matrix_rate(components, timer),
        free_bytes=free,
        workers=workers,
        stages=stages,
        labelling=labelling,
        evaluation=evaluation,
        plan=_plan(components, stages, workers, labelling, evaluation, truth),
    )


def _plan(
    components: Components,
    stages: Sequence[StageCost],
    workers: int,
    labelling: PassCost | None,
    evaluation: PassCost,
    truth: float | None,
) -> list[PlanPart]:
    """All parts of the plan, with their counts and seconds per repetition."""
    plan = [
        PlanPart(
            name=f"steps of the {stage.stage}",
            times=sum(phases[0].steps for phases in trainings_of(components.plan) if phases[0].stage == stage.stage),
            seconds=stage.seconds(workers),
        )
        for stage in stages
    ]
    if labelling is not None:
        times = _images_to_label(components.plan, len(components.split.unlabelled))
        plan.append(PlanPart(name="images to label", times=times, seconds=1 / labelling.images_per_s))
    if truth is not None:
        with_teacher = sum(phase.label_from is not None for phase in components.plan)
        plan.append(
            PlanPart(
                name="pseudo-labels to score", times=with_teacher * len(components.split.unlabelled), seconds=truth
            )
        )
    known = sum(id in components.dataset.masks for id in components.split.unlabelled)
    compared = min(known, components.run.scored_unlabelled) if components.run.score_pseudo_labels else 0
    times = compared * sum(phase.evaluations for phase in components.plan if phase.teacher is not None)
    if times:
        plan.append(PlanPart(name="labels in the step to score", times=times, seconds=1 / evaluation.images_per_s))
    scored = sum(phase.evaluations for phase in components.plan) + len(components.networks)
    times = scored * len(components.dataset.val)
    plan.append(PlanPart(name="images to score", times=times, seconds=1 / evaluation.images_per_s))
    return plan


def _images_to_label(plan: Sequence[Phase], images: int) -> int:
    """Images that pass through teachers before the phases: to be labelled, and to be ranked by all kept weights."""
    learners = {phase.label_from: phase for phase in plan if phase.label_from is not None}
    labelled = {teacher: phase.share_of(images) for teacher, phase in learners.items()}
    kept = sum(labelled[one] for phase in learners.values() if (one := phase.keeps_labels_of) is not None)
    ranking = {phase.ranked_by for phase in plan}
    return sum(labelled.values()) - kept + sum(images * (1 + len(p.kept_after)) for p in plan if p.name in ranking)


def _matrix_rate(components: Components, timer: Timer) -> float:
    size = 2048 if components.device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=components.device, dtype=components.precision) for _ in range(2))
    return 2 * size**3 / timer.one(lambda: a @ b)
