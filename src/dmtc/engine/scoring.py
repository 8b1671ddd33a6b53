"""Scoring networks of a run on whole images."""

from collections.abc import Iterator, Mapping, Sequence

from dmtc.core.types import Batch
from dmtc.engine.context import RunContext
from dmtc.evaluation import Evaluation, Predictor, Scores, evaluate
from dmtc.machine.processes import Processes


def score_networks(
    context: RunContext,
    networks: Mapping[str, Predictor],
    evaluation: Evaluation,
    what: str,
    processes: Processes,
    ids: Sequence[str] | None = None,
) -> dict[str, Scores]:
    """Scores of each network, and last of their ensemble if there are several.

    Args:
        context: Of the run.
        networks: By letter.
        evaluation: The protocol.
        what: What a person sees that this is.
        processes: Which share the images out.
        ids: The images that are scored; by default the validation images.
    """
    ids = processes.share(context.components.dataset.val if ids is None else ids, context.components.run.label_batch)
    context.progress.begin(what, len(ids), "image")
    try:
        images = _counted(context, context.whole_images(ids, with_mask=True))
        return evaluate(networks, images, context.components.dataset.num_classes, evaluation, processes)
    finally:
        context.progress.end()


def score_last(
    context: RunContext,
    evaluation: Evaluation,
    which: str = "last",
    what: str = "scoring",
    ids: Sequence[str] | None = None,
) -> dict[str, Scores]:
    """Scores of each network after its last phase, and last of their ensemble.

    Args:
        context: Of the run.
        evaluation: The protocol.
        which: "last" or "best" weights of the phase.
        what: What a person sees that this is.
        ids: The images that are scored; by default the validation images.
    """
    last = {phase.trainee: phase.name for phase in context.components.plan}
    networks = context.networks
    predictors = {
        letter: networks.predictor(networks.after(last[letter], which)) for letter in context.components.networks
    }
    with context.activity.during("scoring the last networks", context.memory_of_whole_images()):
        return score_networks(context, predictors, evaluation, what, context.processes, ids)


def _counted(context: RunContext, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, each counted when the next one is asked for."""
    for batch in batches:
        yield batch
        context.progress.advance(len(batch.ids))
