"""Pseudo-labels that are made before a phase: which images it learns from, and the pass that labels them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from dmtc.core.errors import DataError
from dmtc.engine.context import RunContext
from dmtc.evaluation import Predictor
from dmtc.pseudo import image_reliability, label_images
from dmtc.run.origin import weights_sha256
from dmtc.run.ranking import images_of, read_ranking, write_ranking
from dmtc.schedule import Phase
from dmtc.schedule.phase import kept_name
from dmtc.tracking.phase_record import PhaseRecord


class StoredLabels:
    """Ranks and labels the unlabelled images of a run, unless its folder holds the results already.

    Args:
        context: The run's context.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._folder = context.folder
        self._processes = context.processes

    def make(self, phase: Phase) -> None:
        """Rank the images for a phase and have its teacher label them, as far as it needs that."""
        if phase.ranked_by is not None:
            self._rank(phase.ranked_by)
        if phase.label_from is not None:
            self._label(phase.label_from)

    def _rank(self, by: str) -> None:
        """Rank all unlabelled images by how well the kept weights of a phase agree with its last ones."""
        context, record = self._context, self._record_of(by)
        kept = next(phase.kept_after for phase in context.components.plan if phase.name == by)
        which = [*(kept_name(step) for step in kept), "last"]
        weights = [weights_sha256(record, each) or "" for each in which]

        def is_there() -> bool:
            try:
                ranking = read_ranking(self._folder, by)
            except DataError as error:
                context.progress.warn(f"{error}; the images are ranked again")
                return False
            return ranking is not None and ranking["weights"] == weights

        if self._processes.broadcast(is_there):
            return
        ids = self._processes.share(context.components.split.unlabelled, context.components.run.label_batch)
        with self._passing("ranking", by, ids) as batches:
            found = image_reliability(
                [self._predictor(by, each) for each in which],
                batches,
                context.components.dataset.num_classes,
                context.progress.advance,
            )
        reliability = {id: value for part in self._processes.all_gather(found) for id, value in part.items()}
        if not reliability:
            raise DataError("none of the unlabelled images can be read")
        self._processes.broadcast(lambda: write_ranking(self._folder, by, weights, reliability))

    def _label(self, teacher_phase: str) -> None:
        """Have the teacher label the images of all phases that learn from it, unless it has done so."""
        store, context = self._folder.store(teacher_phase), self._context
        learners = [phase for phase in context.components.plan if phase.label_from == teacher_phase]
        kept = next((self._folder.store(phase.keeps_labels_of) for phase in learners if phase.keeps_labels_of), None)
        teacher = weights_sha256(self._record_of(teacher_phase))

        def is_complete() -> bool:
            facts = store.facts() if store.is_complete() else {}
            if facts and facts.get("teacher") == teacher and facts.get("adopted") == (kept and kept.sha256()):
                return True
            if store.is_finished():
                context.progress.warn(f"{store.folder} is damaged, or of another teacher; {teacher_phase} labels again")
            store.clear()
            return False

        if self._processes.broadcast(is_complete):
            return

        def to_label() -> list[str]:
            unlabelled = context.components.split.unlabelled
            wanted = {id for phase in learners for id in images_of(self._folder, phase, unlabelled)}
            return [id for id in unlabelled if id in wanted and (kept is None or id not in kept)]

        ids = self._processes.share(self._processes.broadcast(to_label), context.components.run.label_batch)
        with self._passing("labelling", teacher_phase, ids) as batches:
            label_images(
                context.networks.predictor(context.networks.after(teacher_phase)),
                batches,
                store,
                context.components.dataset.num_classes,
                context.progress.advance,
                self._processes,
                teacher,
                kept,
            )

    @contextmanager
    def _passing(self, what: str, by: str, ids: list[str]) -> Iterator[Iterator[tuple[list[str], Tensor]]]:
        """Read whole images without their masks, and show the progress of what is done with them."""
        context = self._context
        batches = context.whole_images(ids, with_mask=False)
        context.progress.begin(f"{by} {what}", len(ids), "image")
        try:
            with context.activity.during(f"{what} by {by}", context.memory_of_whole_images()):
                yield ((list(batch.ids), batch.image) for batch in batches)
        finally:
            context.progress.end()
        context.loader.take_skipped()  # images missing from the results are reported instead, after a resume too

    def _predictor(self, phase: str, which: str) -> Predictor:
        """A phase's network with some of its weights, which share one instance with those of other times."""
        model = self._context.networks.after(phase, which)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        predict = self._context.networks.predictor(model)

        def with_weights(images: Tensor) -> Tensor:
            model.load_state_dict(weights)
            return predict(images)

        return with_weights

    def _record_of(self, phase: str) -> PhaseRecord | None:
        return self._processes.broadcast(lambda: self._folder.read_phase(phase))
