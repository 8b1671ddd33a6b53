"""Carrying a plan out: for each phase that is not done, let its teacher label, train it, score it, keep it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
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
from dmtc.processes import ALONE, Processes
from dmtc.progress import Progress
from dmtc.pseudo import PseudoLabelStore, label_images
from dmtc.run_folder import RunFolder
from dmtc.schedule import Phase, independent_phases, phases_before
from dmtc.settings import pick_workers
from dmtc.tracking import Metrics
from dmtc.types import Batch


class Executor:
    """Carries a plan out in a run folder; what the folder already holds is not done again.

    Several processes have one each, and all of them do the same in the same order. They share out the images of every
    batch and pass, or under `run.parallel_students` the trainings of a round.

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
        self.processes = parts.processes
        self.doing = "preparing"
        self.memory = "the networks alone"
        workers = pick_workers(parts.run.workers, parts.device, parts.processes)
        self.loader = Loader(parts.dataset, parts.augment, workers, parts.device, parts.on_error)
        self.networks = Networks(parts, folder)

    def execute(self) -> None:
        """Run every phase of the plan that has no record yet."""
        for phases in independent_phases(self.parts.plan) if self.parts.run.parallel_students else zip(self.parts.plan):
            to_do = []
            for phase in phases:
                if self._record_of(phase.name) is None:
                    to_do.append(phase)
                else:
                    # A run that was killed may not have come to it.
                    self.processes.first_says(self.folder.checkpoints(phase.name).remove)
                    self.progress.skip(phase.steps)
            if to_do:
                self.interruption.check(f"before phase {to_do[0].name}")
                self._run_phases(to_do)

    def scores(
        self,
        evaluation: Evaluation,
        which: str = "last",
        what: str = "scoring",
        ids: Sequence[str] | None = None,
    ) -> dict[str, Scores]:
        """Scores of every network after its last phase, and last of their ensemble.

        Args:
            evaluation: The protocol.
            which: "last" or "best" weights of the phase.
            what: What a person sees that this is.
            ids: The images that are scored; by default the validation images.
        """
        last = {phase.trainee: phase.name for phase in self.parts.plan}
        predictors = {
            network: self.networks.predictor(self.networks.after(last[network], which))
            for network in self.parts.networks
        }
        with self._while("scoring the last networks", self._whole_images()):
            return self._scores(predictors, evaluation, what, self.processes, ids)

    def _run_phases(self, phases: list[Phase]) -> None:
        """Run phases that do not need each other: all processes one, or under `run.parallel_students` each its own."""
        for phase in phases:
            if phase.label_from is not None:
                self._labelled_by(phase.label_from)
        if not self.parts.run.parallel_students:
            records = [self._run_phase(phase, self.processes) for phase in phases]
        else:
            rank = self.processes.rank
            own = self._run_phase(phases[rank], ALONE) if rank < len(phases) else None
            records = [record for record in self.processes.gathered(own) if record is not None]
        for phase, record in zip(phases, records, strict=True):
            self.processes.first_says(lambda phase=phase, record=record: self._keep(phase, record))

    def _keep(self, phase: Phase, record: dict[str, Any]) -> None:
        """Write the record of a phase that is done."""
        if self._take_over_metrics(phase):  # another process has trained it, and shown nothing
            self.progress.skip(phase.steps)
            for warning in record["warnings"]:
                self.progress.warn(warning)
        self._report(phase, record)  # before the record marks the phase as done: better twice than never
        self.folder.write_phase(record)
        self.folder.checkpoints(phase.name).remove()
        self.progress.say(_phase_line(record))

    def _metrics_for(self, phase: Phase, processes: Processes) -> Metrics:
        """Where the values of a phase go; the first process also takes what an earlier session has left elsewhere."""
        assert self.metrics is not None, "a run that trains has its metrics"
        if self.processes.is_first:
            self._take_over_metrics(phase)
        elif processes is ALONE:
            path = self.folder.metrics_of_phase_path(phase.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            return Metrics(path, {}, self.progress.warn)
        return self.metrics

    def _take_over_metrics(self, phase: Phase) -> bool:
        """Take the values of a phase that another process has kept; whether there are any."""
        assert self.metrics is not None
        path = self.folder.metrics_of_phase_path(phase.name)
        if there := path.is_file():
            self.metrics.take_over(phase.name, path)
            path.unlink()
        return there

    def _run_phase(self, phase: Phase, processes: Processes) -> dict[str, Any]:
        """Train a phase together with the processes given, and return what is to be reported of it."""
        parts, run = self.parts, self.parts.run
        metrics = self._metrics_for(phase, processes)
        training = PhaseTraining(phase, parts, self.folder, self.progress, metrics, self.interruption, processes)
        course = training.course
        before = None if phase.init_from is None else self._record_of(phase.init_from, processes)
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
        pseudo_labels, labelling = None, 0.0
        if phase.label_from is not None and phase.label_ratio is not None:
            store = self.folder.store(phase.label_from)
            facts = store.facts()
            record["label_images_per_s"] = facts["images"] / max(facts["seconds"], 1e-9)
            if next(other for other in parts.plan if other.label_from == phase.label_from) is phase:
                labelling = facts["seconds"]  # of phases that share a teacher's predictions, counted to the first
            pseudo_labels = store.select(phase.label_ratio)
            if not training.begun:
                truth = parts.dataset if run.score_pseudo_labels else None
                course.pseudo = score_pseudo_labels(store, phase.label_ratio, parts.split.unlabelled, truth, processes)
                course.skipped = self._missing(store)
                pseudo_before = before["pseudo"] if before else None
                lost = lost_classes(course.pseudo, pseudo_before, parts.dataset.classes, phase.label_from)
                self._warn(training, lost)
        record["pseudo"] = course.pseudo

        model = self._network_for(training)

        def batches(start: int) -> Iterator[Batch]:
            labelled, seed = parts.split.subsets[phase.trainee], parts.config["seed"]
            steps = training_requests(phase, labelled, parts.split.unlabelled, pseudo_labels, seed, start)
            return self.loader.crops(processes.share(requests) for requests in steps)

        def score() -> Scores:
            with self._while(f"scoring {phase.name}", self._whole_images()):
                networks = {phase.trainee: self.networks.predictor(model)}
                what = f"{phase.name} scoring"
                return self._scores(networks, parts.evaluation, what, processes)[phase.trainee]

        with self._while(f"training {phase.name}", self._crops(phase)):
            record |= training.run(model, batches, score, self.loader.take_skipped)
        record["seconds"] += labelling
        if phase.label_from is not None:
            self._warn(training, fallen_score(record["miou_last"], before["miou_last"] if before else None))
        record["warnings"] = course.warnings
        if metrics is not self.metrics:
            metrics.close()
        return record

    def _record_of(self, phase: str, processes: Processes | None = None) -> dict[str, Any] | None:
        """What is to be reported of a phase, or None if it is not done."""
        return (processes or self.processes).first_says(lambda: self.folder.read_phase(phase))

    def _report(self, phase: Phase, record: dict[str, Any]) -> None:
        """Tell the loggers what came of a phase, with pictures for those that want any."""
        assert self.metrics is not None, "a run that trains has its metrics"
        fixed, worst = [], []
        if count := self.metrics.panels:
            with self._while(f"drawing panels of {phase.name}", self._whole_images()):
                panels = Panels(
                    phase, self.parts, self.folder, self.networks.predictor(self.networks.after(phase.name))
                )
                fixed, worst = panels.fixed(count), panels.worst(count, record["pseudo"])
        self.metrics.phase(record, fixed, worst)

    def _network_for(self, training: PhaseTraining) -> SegmentationModel:
        phase = training.phase
        if training.begun:
            return self.networks.instance(phase.trainee)  # the checkpoint has its weights
        if phase.init_from is not None:
            return self.networks.after(phase.init_from)
        model, report = self.networks.started(phase)
        training.processes.first_says(lambda: self.folder.write_weights_report(phase.name, dataclasses.asdict(report)))
        self.progress.say(f"network {phase.trainee}: {report.summary()}")
        return model

    def _labelled_by(self, teacher_phase: str) -> None:
        """Let the teacher label, if no earlier phase or run has made all of its predictions."""
        store = self.folder.store(teacher_phase)

        def is_complete() -> bool:
            if not (complete := store.is_complete()):
                store.clear()
            return complete

        if self.processes.first_says(is_complete):
            return
        batch = self.parts.run.label_batch
        ids = self.processes.share(self.parts.split.unlabelled, batch)
        batches = self._heeding(self.loader.images(ids, batch, with_mask=False))
        self.progress.begin(f"{teacher_phase} labelling", len(ids), "image")
        try:
            with self._while(f"labelling by {teacher_phase}", self._whole_images()):
                label_images(
                    self.networks.predictor(self.networks.after(teacher_phase)),
                    ((list(batch.ids), batch.image) for batch in batches),
                    store,
                    self.parts.dataset.num_classes,
                    self.progress.advance,
                    self.processes,
                )
        finally:
            self.progress.end()
        self.loader.take_skipped()  # they are told by what the store lacks, now and after any interruption

    def _missing(self, store: PseudoLabelStore) -> dict[str, int]:
        """Unlabelled images that could not be labelled, each skipped once."""
        ids = self.parts.split.unlabelled
        return {} if store.facts()["images"] == len(ids) else {id: 1 for id in sorted(ids) if id not in store}

    def _scores(
        self,
        networks: Mapping[str, Predictor],
        evaluation: Evaluation,
        what: str,
        processes: Processes,
        of: Sequence[str] | None = None,
    ) -> dict[str, Scores]:
        batch = self.parts.run.label_batch
        ids = processes.share(self.parts.dataset.val if of is None else of, batch)
        images = self._counted(self._heeding(self.loader.images(ids, batch, with_mask=True)))
        self.progress.begin(what, len(ids), "image")
        try:
            return evaluate(networks, images, self.parts.dataset.num_classes, evaluation, processes)
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
        recompute = "" if self.parts.run.gradient_checkpointing else ", with run.gradient_checkpointing=true if need be"
        return (
            f"{images} crops of {height}x{width} pixels a step in {parts} part{'s' if parts > 1 else ''}. Free the "
            f"device of other programs and resume{recompute}; or start anew with run.accumulate={2 * parts}, a smaller "
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
