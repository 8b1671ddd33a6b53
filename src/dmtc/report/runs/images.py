"""The validation images that improved most and least over the rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmtc.core.types import UInt8Array
from dmtc.data import Dataset
from dmtc.data.ids import file_name
from dmtc.engine.context import RunContext
from dmtc.report.pictures import Panel, color_table, draw_panels, panels_of
from dmtc.report.runs.run_data import Stage
from dmtc.report.runs.validation import StageScores, predict


@dataclass(frozen=True, eq=False)
class ImageRow:
    """A validation image and its predictions.

    Attributes:
        id: Its name.
        kind: Why it was chosen.
        before: Share of wrong pixels after the start, under the run's protocol.
        after: The same at the end.
        panels: Image, truth, predictions, errors.
    """

    id: str
    kind: str
    before: float
    after: float
    panels: list[Panel]


def choose(before: StageScores, after: StageScores, count: int) -> list[tuple[str, str]]:
    """Ids and kinds of the images with the largest and smallest gain, half of each.

    Without rounds both scores are equal; then these are the images with the fewest and the most errors.
    """
    if before.wrong == after.wrong:
        order, kinds = sorted(after.wrong, key=lambda id: (after.wrong[id], id)), ("fewest errors", "most errors")
    else:
        order = sorted(after.wrong, key=lambda id: (after.wrong[id] - before.wrong[id], id))
        kinds = ("most improved", "least improved")
    count = min(count, len(order))
    best, worst = order[: -(-count // 2)], order[len(order) - count // 2 :]
    return [(id, kinds[0]) for id in best] + [(id, kinds[1]) for id in reversed(worst)]


def image_rows(
    context: RunContext,
    stages: Sequence[Stage],
    scores: Mapping[str, StageScores],
    count: int,
    beside: Sequence[tuple[str, RunContext, Stage]],
) -> list[ImageRow]:
    """Predict the chosen images at the start, halfway and at the end.

    Args:
        context: The run's context.
        stages: The finished stages.
        scores: Scores of at least the first and the last stage.
        count: Number of images.
        beside: Titles, contexts and last stages of other runs; their predictions come before the last one.
    """
    dataset, palette = context.components.dataset, color_table(context.components.dataset)
    first, last = scores[stages[0].key], scores[stages[-1].key]
    chosen = choose(first, last, count)
    ids = [id for id, _ in chosen]
    shown = [stages[0]] if len(stages) > 1 else []
    if len(stages) > 3 and not beside:
        shown.append(stages[len(stages) // 2])
    predictions: list[tuple[str, dict[str, UInt8Array]]] = [(s.title, predict(context, s, ids)) for s in shown]
    predictions += [(title, predict(other, stage, ids)) for title, other, stage in beside]
    predictions += [(stages[-1].title, predict(context, stages[-1], ids))]
    rows = []
    for id, kind in chosen:
        sample = dataset.sample(id)
        panels = panels_of(sample.image, sample.label, [(title, of[id]) for title, of in predictions], palette)
        rows.append(ImageRow(id, kind, first.wrong[id], last.wrong[id], panels))
    return rows


def draw_rows(rows: Sequence[ImageRow], dataset: Dataset) -> dict[str, bytes]:
    """Each row as a PNG: file contents by name."""
    return {f"{file_name(row.id)}.png": draw_panels(row.panels, dataset) for row in rows}
