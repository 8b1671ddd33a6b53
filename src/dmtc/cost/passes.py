"""The cost of passes over whole images: plain inference, labelling, scoring."""

from collections.abc import Sequence

from dmtc.batches import Loader
from dmtc.core.types import Batch
from dmtc.cost.findings import PassCost
from dmtc.cost.timing import Timer
from dmtc.engine.components import Components
from dmtc.evaluation import Predictor, evaluate
from dmtc.evaluation.quality import score_pseudo_labels
from dmtc.pseudo import PseudoLabelStore, label_images

_PASSES = 4
"""Number of passes that share the measuring time: labelling and scoring, and plain inference for each."""


class WholeImages:
    """Passes of a network over whole images, read by the run's own loader.

    Args:
        components: The recipe.
        predict: The network.
        workers: Number of loader processes of the run.
        timer: Times the passes.
    """

    def __init__(self, components: Components, predict: Predictor, workers: int, timer: Timer) -> None:
        self._components, self._predict, self._timer = components, predict, timer
        self._loader = Loader(components.dataset, components.augment, workers, components.device, components.on_error)
        for _ in self._loader.images(components.dataset.val[: max(1, workers)], 1, with_mask=False):
            pass  # starts the processes

    def labelling(self, store: PseudoLabelStore) -> tuple[PassCost, Sequence[str]]:
        """Predict unlabelled images and store the results; also returns the ids used."""
        components = self._components
        ids, plain = self._plain(components.split.unlabelled)

        def label() -> None:
            batches = self._loader.images(ids, components.run.label_batch, with_mask=False)
            images = ((list(batch.ids), batch.image) for batch in batches)
            label_images(self._predict, images, store, components.dataset.num_classes)

        return PassCost(images_per_s=len(ids) / self._timer.once(label), plain_images_per_s=plain), ids

    def evaluation(self) -> PassCost:
        """Score validation images under the recipe's protocol."""
        components = self._components
        ids, plain = self._plain(components.dataset.val)

        def score() -> None:
            batches = self._loader.images(ids, components.run.label_batch, with_mask=True)
            classes = components.dataset.classes
            evaluate({"a": self._predict}, batches, len(classes), components.evaluation, classes=classes)

        return PassCost(images_per_s=len(ids) / self._timer.once(score), plain_images_per_s=plain)

    def _plain(self, ids: Sequence[str]) -> tuple[Sequence[str], float]:
        """The ids that fit in the measuring time, and the network's speed alone, in images per second."""

        def read(ids: Sequence[str]) -> list[Batch]:
            return list(self._loader.images(ids, self._components.run.label_batch, with_mask=False))

        def infer(batches: list[Batch]) -> None:
            for batch in batches:
                self._predict(batch.image)

        first = read(ids[: self._components.run.label_batch])
        infer(first)
        seconds = self._timer.once(lambda: infer(first)) / sum(len(batch.ids) for batch in first)
        chosen = ids[: max(self._components.run.label_batch, int(self._timer.seconds / _PASSES / seconds))]
        batches = read(chosen)
        return chosen, sum(len(batch.ids) for batch in batches) / self._timer.once(lambda: infer(batches))


def truth_seconds(components: Components, store: PseudoLabelStore, ids: Sequence[str], timer: Timer) -> float | None:
    """Seconds per image for comparing pseudo-labels with the truth; None if the run does not."""
    if not components.run.score_pseudo_labels:
        return None
    return timer.once(lambda: score_pseudo_labels(store, 1.0, ids, components.dataset)) / len(ids)
