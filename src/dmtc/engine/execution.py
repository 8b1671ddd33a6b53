"""Carrying a plan out: for each phase that is not done, let its teacher label, train it, score it, keep it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dmtc.batches import Loader, training_requests
from dmtc.engine.assembly import Assembly
from dmtc.engine.collapse import fallen_score, lost_classes
from dmtc.engine.networks import Networks
from dmtc.engine.panels import Panels
from dmtc.engine.phase_training import PhaseTraining
from dmtc.engine.quality import score_pseudo_labels
from dmtc.evaluation import Evaluation, Predictor, Scores, evaluate
from dmtc.interruption import Interruption
from dmtc.models import SegmentationModel
from dmtc.progress import Progress
from dmtc.pseudo import PseudoLabelStore, label_images
from dmtc.run_folder import RunFolder
from dmtc.schedule import Phase, phases_before
from dmtc.settings import pick_workers
from dmtc.tracking import Metrics
from dmtc.types import Batch


class Executor:
    """Carries a plan out in a run folder; what the folder already holds is not done again.

    Args:
        parts: Data set, split, plan, losses and networks.
        folder: Where everything is written.
        progress: Where a person looks.
        metrics: Where values of the training go; None if nothing is trained.
        interruption: Looked at wherever the run can be stopped without losing anything.

    Attributes:
        doing: What is being done, for messages.
        memory: What takes memory in it, and which options change that.
    """

    def __init__(
        self,
        parts: Assembly,
        folder: RunFolder,
        progress: Progress,
        metrics: Metrics | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        self.parts = parts
        self.folder = folder
        self.progress = progress
        self.metrics = metrics
        self.interruption = Interruption() if interruption is None else interruption
        self.doing = "preparing"
        self.memory = "the networks alone"
        workers = pick_workers(parts.run.workers, parts.device)
        self.loader = Loader(parts.dataset, parts.augment, workers, parts.device, parts.on_error)
        self.networks = Networks(parts, folder)

    def execute(self) -> None:
        """Run every phase of the plan that has no record yet."""
        for phase in self.parts.plan:
            if self.folder.read_phase(phase.name) is None:
                self.interruption.check(f"before phase {phase.name}")
                self._run_phase(phase)
            else:
                self.folder.checkpoints(phase.name).remove()  # a run that was killed may not have come to it
                self.progress.skip(phase.steps)

    def scores(self, evaluation: Evaluation, which: str = "last", what: str = "scoring") -> dict[str, Scores]:
        """Scores on the validation images of every network after its last phase, and last of their ensemble.

        Args:
            evaluation: The protocol.
            which: "last" or "best" weights of the phase.
            what: What a person sees that this is.
        """
        last = {phase.trainee: phase.name for phase in self.parts.plan}
        predictors = {
            network: self.networks.predictor(self.networks.after(last[network], which))
            for network in self.parts.networks
        }
        with self._while("scoring the last networks", self._whole_images()):
            return self._scores(predictors, evaluation, what)

    def _run_phase(self, phase: Phase) -> None:
        parts, run = self.parts, self.parts.run
        assert self.metrics is not None, "a run that trains has its metrics"
        training = PhaseTraining(phase, parts, self.folder, self.progress, self.metrics, self.interruption)
        course = training.course
        before = None if phase.init_from is None else self.folder.read_phase(phase.init_from)
        record: dict[str, Any] = {
            "name": phase.name,
            "trainee": phase.trainee,
            "round": len(phases_before(phase, parts.plan)),
            "label_from": phase.label_from,
            "label_ratio": phase.label_ratio,
            "steps": phase.steps,
            "pseudo": None,
            "label_images_per_s": None,
        }
        pseudo_labels = None
        if phase.label_from is not None and phase.label_ratio is not None:
            store = self._labelled_by(phase.label_from)
            facts = store.facts()
            record["label_images_per_s"] = facts["images"] / max(facts["seconds"], 1e-9)
            pseudo_labels = store.select(phase.label_ratio)
            if not training.begun:
                truth = parts.dataset if run.score_pseudo_labels else None
                course.pseudo = score_pseudo_labels(store, phase.label_ratio, parts.split.unlabelled, truth)
                course.skipped = self._missing(store)
                pseudo_before = before["pseudo"] if before else None
                lost = lost_classes(course.pseudo, pseudo_before, parts.dataset.classes, phase.label_from)
                self._warn(training, lost)
        record["pseudo"] = course.pseudo

        model = self._network_for(training)

        def batches(start: int) -> Iterator[Batch]:
            labelled, seed = parts.split.subsets[phase.trainee], parts.config["seed"]
            return self.loader.crops(
                training_requests(phase, labelled, parts.split.unlabelled, pseudo_labels, seed, start)
            )

        def score() -> Scores:
            with self._while(f"scoring {phase.name}", self._whole_images()):
                networks = {phase.trainee: self.networks.predictor(model)}
                return self._scores(networks, parts.evaluation, f"{phase.name} scoring")[phase.trainee]

        with self._while(f"training {phase.name}", self._crops(phase)):
            record |= training.run(model, batches, score, self.loader.take_skipped)
        if phase.label_from is not None:
            self._warn(training, fallen_score(record["miou_last"], before["miou_last"] if before else None))
        record["warnings"] = course.warnings
        self._report(phase, record, model)  # before the record marks the phase as done: better twice than never
        self.folder.write_phase(record)
        training.done()
        self.progress.say(_phase_line(record))

    def _report(self, phase: Phase, record: dict[str, Any], model: SegmentationModel) -> None:
        """Tell the loggers what came of a phase, with pictures for those that want any."""
        assert self.metrics is not None, "a run that trains has its metrics"
        with self._while(f"drawing panels of {phase.name}", self._whole_images()):
            panels = Panels(phase, self.parts, self.folder, self.networks.predictor(model))
            count = self.metrics.panels
            self.metrics.phase(record, panels.fixed(count), panels.worst(count, record["pseudo"]))

    def _network_for(self, training: PhaseTraining) -> SegmentationModel:
        phase = training.phase
        if training.begun:
            return self.networks.instance(phase.trainee)  # the checkpoint has its weights
        if phase.init_from is not None:
            return self.networks.after(phase.init_from)
        model, line = self.networks.started(phase)
        self.progress.say(line)
        return model

    def _labelled_by(self, teacher_phase: str) -> PseudoLabelStore:
        """The teacher's predictions; made now if no earlier phase or run has made all of them."""
        store = self.folder.store(teacher_phase)
        if store.is_complete():
            return store
        store.clear()
        ids = self.parts.split.unlabelled
        batches = self._heeding(self.loader.images(ids, self.parts.run.label_batch, with_mask=False))
        self.progress.begin(f"{teacher_phase} labelling", len(ids), "image")
        try:
            with self._while(f"labelling by {teacher_phase}", self._whole_images()):
                label_images(
                    self.networks.predictor(self.networks.after(teacher_phase)),
                    ((list(batch.ids), batch.image) for batch in batches),
                    store,
                    self.parts.dataset.num_classes,
                    self.progress.advance,
                )
        finally:
            self.progress.end()
        self.loader.take_skipped()  # they are told by what the store lacks, now and after any interruption
        return store

    def _missing(self, store: PseudoLabelStore) -> dict[str, int]:
        """Unlabelled images that could not be labelled, each skipped once."""
        ids = self.parts.split.unlabelled
        return {} if store.facts()["images"] == len(ids) else {id: 1 for id in sorted(ids) if id not in store}

    def _scores(self, networks: Mapping[str, Predictor], evaluation: Evaluation, what: str) -> dict[str, Scores]:
        ids = self.parts.dataset.val
        images = self._heeding(self.loader.images(ids, self.parts.run.label_batch, with_mask=True))
        self.progress.begin(what, len(ids), "image")
        try:
            return evaluate(networks, self._counted(images), self.parts.dataset.num_classes, evaluation)
        finally:
            self.progress.end()

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, each counted when the next one is asked for."""
        for batch in batches:
            yield batch
            self.progress.advance(len(batch.ids))

    def _heeding(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, until the run is asked to stop: what they are for is then begun anew by the next one."""
        for batch in batches:
            self.interruption.check(f"while {self.doing}")
            yield batch

    @contextmanager
    def _while(self, doing: str, memory: str) -> Iterator[None]:
        before = self.doing, self.memory
        self.doing, self.memory = doing, memory
        yield
        self.doing, self.memory = before  # not after an error, whose message tells them

    def _crops(self, phase: Phase) -> str:
        height, width = self.parts.augment.crop
        images, parts = phase.labelled_batch + phase.pseudo_batch, self.parts.run.accumulate
        return (
            f"{images} crops of {height}x{width} pixels a step in {parts} part{'s' if parts > 1 else ''}. Free the "
            f"device of other programs and resume; or start anew with run.accumulate={2 * parts}, a smaller "
            f"dataset.augment.crop or a smaller schedule.{phase.stage}.labelled_batch"
            f"{' or .pseudo_batch' if phase.pseudo_batch else ''}, all of which change results"
        )

    def _whole_images(self) -> str:
        return (
            f"run.label_batch={self.parts.run.label_batch} whole images at once: python run.py "
            f"resume={self.folder.path} run.label_batch=1"
        )

    def _warn(self, training: PhaseTraining, warnings: list[str]) -> None:
        for warning in warnings:
            training.course.warnings.append(f"{training.phase.name}: {warning}")
            self.progress.warn(training.course.warnings[-1])


def _phase_line(record: dict[str, Any]) -> str:
    """One line about a finished phase."""
    pseudo = record["pseudo"]
    taught = ""
    if pseudo:
        quality = "" if pseudo["miou"] is None else f", mIoU {pseudo['miou']:.3f}"
        taught = f", taught by {record['label_from']} ({pseudo['coverage']:.0%} of pixels{quality})"
    dropped = f" ({len(record['dropped_steps'])} dropped)" if record["dropped_steps"] else ""
    return f"{record['name']}: mIoU {record['miou_last']:.3f} after {record['steps']} steps{dropped}{taught}"
