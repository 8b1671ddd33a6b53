"""Scoring networks of a run on whole images."""

from collections.abc import Iterator, Mapping, Sequence

from dmtc.core.types import Batch
from dmtc.engine.context import RunContext
from dmtc.evaluation import Evaluation, Predictor, Scores, evaluate
from dmtc.machine.processes import Processes
from dmtc.schedule import Phase
from dmtc.schedule.phase import phases_before


def score_networks(
    context: RunContext,
    networks: Mapping[str, Predictor],
    evaluation: Evaluation,
    what: str,
    processes: Processes,
    ids: Sequence[str] | None = None,
    ensemble: bool = True,
) -> dict[str, Scores]:
    """Scores of each network and, if there are several, of their ensemble, which comes last.

    Args:
        context: The run's context.
        networks: Predictors by letter.
        evaluation: The protocol.
        what: Title of the progress bar.
        processes: Processes that share the images.
        ids: Images to score; by default the validation images.
        ensemble: Whether to score the ensemble.
    """
    ids = processes.share(context.components.dataset.val if ids is None else ids, context.components.run.label_batch)
    context.progress.begin(what, len(ids), "image")
    try:
        images = _counted(context, context.whole_images(ids, with_mask=True))
        classes = context.components.dataset.classes
        return evaluate(networks, images, len(classes), evaluation, processes, ensemble, classes)
    finally:
        context.progress.end()


def score_last(
    context: RunContext,
    evaluation: Evaluation,
    which: str = "last",
    what: str = "scoring",
    ids: Sequence[str] | None = None,
) -> dict[str, Scores]:
    """Scores of each network after its last phase and, if there are several, of their ensemble, which comes last.

    Args:
        context: The run's context.
        evaluation: The protocol.
        which: "last" or "best" weights of the phase.
        what: Title of the progress bar.
        ids: Images to score; by default the validation images.
    """
    return _score_after(context, context.components.plan, evaluation, which, what, ids)


def score_after_round(context: RunContext, number: int) -> Scores:
    """Scores of the ensemble on the validation images with the weights that the networks have after a round.

    Args:
        context: The run's context, whose folder has these weights.
        number: The round; see `completed_round`.
    """
    plan = context.components.plan
    phases = [phase for phase in plan if len(phases_before(phase, plan)) <= number]
    *_, ensemble = _score_after(
        context, phases, context.components.evaluation, "last", f"scoring round {number}", None
    ).values()
    return ensemble


def _score_after(
    context: RunContext,
    phases: Sequence[Phase],
    evaluation: Evaluation,
    which: str,
    what: str,
    ids: Sequence[str] | None,
) -> dict[str, Scores]:
    """Scores of each network after the last of its phases, and of their ensemble."""
    last = {phase.trainee: phase.name for phase in phases}
    networks = context.networks
    predictors = {
        letter: networks.predictor(networks.after(last[letter], which)) for letter in context.components.networks
    }
    with context.activity.during("scoring the last networks", context.memory_of_whole_images()):
        return score_networks(context, predictors, evaluation, what, context.processes, ids)


def _counted(context: RunContext, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, each counted as done when the next one is requested."""
    for batch in batches:
        yield batch
        context.progress.advance(len(batch.ids))
