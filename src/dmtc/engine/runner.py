"""Runs a plan: for each unfinished phase, make its pseudo-labels, train it, and record it."""

import dataclasses
from collections.abc import Callable, Sequence

from dmtc.engine.collapse import fallen_score, lost_classes
from dmtc.engine.context import RunContext
from dmtc.engine.phase_log import PhaseLog
from dmtc.engine.scoring import score_after_round
from dmtc.engine.stored_labels import StoredLabels
from dmtc.engine.trainer import Trainer
from dmtc.evaluation.quality import score_pseudo_labels
from dmtc.machine.processes import ALONE, Processes
from dmtc.models import SegmentationModel
from dmtc.pseudo import PseudoLabelStore
from dmtc.run.origin import origin_of
from dmtc.run.ranking import images_of
from dmtc.schedule import Phase
from dmtc.schedule.phase import completed_round, independent_phases, phases_before, trainings_of
from dmtc.tracking import Panel, RunLog
from dmtc.tracking.phase_record import PhaseRecord

DrawPanels = Callable[[Phase, PhaseRecord, int], tuple[list[Panel], list[Panel]]]
"""(phase, record, count) -> panels of a fixed set of images, and of those with the worst pseudo-labels."""


class Runner:
    """Runs a plan in a run folder, skipping what the folder already holds.

    Each process has its own runner, and all do the same steps in the same order. They divide the images of every batch
    and pass among themselves or, with `run.parallel_students`, the phases of a round.

    Args:
        context: The run's context.
        metrics: Receives the training values.
        panels: Draws images for the loggers after a phase.
    """

    def __init__(self, context: RunContext, metrics: RunLog, panels: DrawPanels) -> None:
        self.context = context
        self.metrics = metrics
        self.panels = panels
        self.components = context.components
        self.folder = context.folder
        self.progress = context.progress
        self.processes = context.processes
        self.labels = StoredLabels(context)

    def run(self) -> None:
        """Run every phase that has no record yet."""
        if self.components.run.parallel_students:
            for phases in independent_phases(self.components.plan):
                self._run_side_by_side([phase for phase in phases if not self._is_done([phase])])
            return
        for phases in trainings_of(self.components.plan):
            if self._is_done(phases):
                continue
            self.context.interruption.check(f"before phase {phases[0].name}")
            self._label_for(phases)
            records = self._train(phases, self.processes)
            self._score_ensemble(phases)
            self.processes.broadcast(lambda phases=phases, records=records: self._keep(phases, records))

    def _run_side_by_side(self, phases: list[Phase]) -> None:
        """Train independent phases, each in a process of its own."""
        if not phases:
            return
        self.context.interruption.check(f"before phase {phases[0].name}")
        self._label_for(phases)
        rank = self.processes.rank
        own = self._train([phases[rank]], ALONE) if rank < len(phases) else []
        records = [record for of_one in self.processes.all_gather(own) for record in of_one]
        self._score_ensemble(phases)
        self.processes.broadcast(lambda: self._keep(phases, records))

    def _is_done(self, phases: list[Phase]) -> bool:
        """Whether all phases of a training have their records."""
        if any(self._record_of(phase.name) is None for phase in phases):
            return False
        for phase in phases:
            # A killed run may not have removed them.
            self.processes.broadcast(self.folder.checkpoints(phase.name).remove)
            self.progress.skip(phase.steps)
        return True

    def _label_for(self, phases: list[Phase]) -> None:
        for phase in phases:
            self.labels.make(phase)

    def _train(self, phases: list[Phase], processes: Processes) -> list[PhaseRecord]:
        """Train a phase, or several that learn together, with the given processes and return their records."""
        first = phases[0]
        metrics = self._metrics_for(first, processes)
        befores = [None if phase.init_from is None else self._record_of(phase.init_from, processes) for phase in phases]
        origins = [
            origin_of(self.folder, phase, self.components.split, before)
            for phase, before in zip(phases, befores, strict=True)
        ]
        trainer = Trainer(phases, self.context, metrics, processes, origins)
        pseudo_labels, labelling, label_images_per_s = None, {}, None
        unlabelled = images_of(self.folder, first, self.components.split.unlabelled)
        if first.label_from is not None and first.label_ratio is not None:
            store = self.folder.store(first.label_from)
            facts = store.facts()
            label_images_per_s = (facts["images"] - facts.get("adopted_images", 0)) / max(facts["seconds"], 1e-9)
            if next(other for other in self.components.plan if other.label_from == first.label_from) is first:
                labelling = facts  # shared predictions count toward the first phase that uses them
            pseudo_labels = store.select(first.label_ratio)
            if not trainer.begun:
                self._check_pseudo_labels(trainer, store, unlabelled, befores[0])
        models = [self._network_for(trainer, phase) for phase in phases]
        with self.context.activity.during(f"training {trainer.name}", self._memory_of_crops(first)):
            outcomes = trainer.train(models, unlabelled, pseudo_labels)
        records = []
        for phase, before, outcome, log in zip(phases, befores, outcomes, trainer.logs, strict=True):
            if phase.stage == "rounds":
                self._warn(phase, log, fallen_score(outcome["miou_last"], before.miou_last if before else None))
            record = PhaseRecord(
                name=phase.name,
                trainee=phase.trainee,
                round=len(phases_before(phase, self.components.plan)),
                label_from=phase.label_from,
                teacher=phase.teacher,
                label_ratio=phase.label_ratio,
                steps=phase.steps,
                pseudo=log.pseudo,
                label_images_per_s=label_images_per_s,
                **outcome | {spent: outcome[spent] + labelling.get(spent, 0.0) for spent in ("seconds", "cpu_seconds")},
                warnings=log.warnings,
            )
            records.append(record)
        if metrics is not self.metrics:
            metrics.close()
        return records

    def _check_pseudo_labels(
        self, trainer: Trainer, store: PseudoLabelStore, unlabelled: Sequence[str], before: PhaseRecord | None
    ) -> None:
        """Score the pseudo-labels where the ground truth is known, and warn about classes they lost."""
        log, teacher, ratio = trainer.logs[0], trainer.phase.label_from, trainer.phase.label_ratio
        assert teacher is not None
        assert ratio is not None
        truth = self.components.dataset if self.components.run.score_pseudo_labels else None
        log.pseudo = score_pseudo_labels(store, ratio, unlabelled, truth, trainer.processes)
        if store.facts()["images"] < len(unlabelled):  # each image that could not be labelled was skipped once
            log.skipped = {id: 1 for id in sorted(unlabelled) if id not in store}
        self._warn(
            trainer.phase,
            log,
            lost_classes(log.pseudo, before.pseudo if before else None, self.components.dataset.classes, teacher),
        )

    def _network_for(self, trainer: Trainer, phase: Phase) -> SegmentationModel:
        networks = self.context.networks
        if trainer.begun:
            return networks.instance(phase.trainee)  # the checkpoint has its weights
        if phase.init_from is not None:
            return networks.after(phase.init_from)
        model, report = networks.started(phase)
        trainer.processes.broadcast(lambda: self.folder.write_weights_report(phase.name, dataclasses.asdict(report)))
        self.progress.say(f"network {phase.trainee}: {report.summary()}")
        return model

    def _score_ensemble(self, phases: list[Phase]) -> None:
        """Score the ensemble after a round, if a logger wants it; that of the last round belongs to the results."""
        number = completed_round(phases, self.components.plan)
        if number is None or phases[-1] is self.components.plan[-1] or len(self.components.networks) == 1:
            return
        if self.processes.broadcast(lambda: self.metrics.wants_ensemble):
            scores = score_after_round(self.context, number)
            self.metrics.ensemble(number, scores)

    def _keep(self, phases: list[Phase], records: list[PhaseRecord]) -> None:
        """Write the records of finished phases."""
        for phase, record in zip(phases, records, strict=True):
            if self._merge_metrics(phase):  # another process trained it without showing progress
                self.progress.skip(phase.steps)
                for warning in record.warnings:
                    self.progress.warn(warning)
            self._report(phase, record)  # before the record marks the phase as done: better logged twice than never
            self.folder.write_phase(record)
        for phase, record in zip(phases, records, strict=True):
            self.folder.checkpoints(phase.name).remove()
            self.progress.say(_phase_line(record))

    def _report(self, phase: Phase, record: PhaseRecord) -> None:
        """Send the loggers a phase's record, with images if any logger wants them."""
        count = self.metrics.panels
        fixed, worst = self.panels(phase, record, count) if count else ([], [])
        self.metrics.phase(record, fixed, worst)

    def _metrics_for(self, phase: Phase, processes: Processes) -> RunLog:
        """The log for a phase's values; the first process first merges values left by another process before."""
        if self.processes.is_first:
            self._merge_metrics(phase)
        elif processes is ALONE:
            path = self.folder.metrics_of_phase_path(phase.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            return RunLog(path, {}, self.progress.warn)
        return self.metrics

    def _merge_metrics(self, phase: Phase) -> bool:
        """Merge the values of a phase that another process logged; returns whether there were any."""
        path = self.folder.metrics_of_phase_path(phase.name)
        if exists := path.is_file():
            self.metrics.take_over(phase.name, path)
            path.unlink()
        return exists

    def _record_of(self, phase: str, processes: Processes | None = None) -> PhaseRecord | None:
        """The record of a phase, or None if it is not done."""
        return (processes or self.processes).broadcast(lambda: self.folder.read_phase(phase))

    def _memory_of_crops(self, phase: Phase) -> str:
        height, width = self.components.augment.crop
        images, parts = phase.labelled_batch + phase.pseudo_batch, self.components.run.accumulate
        recompute = (
            "" if self.components.run.gradient_checkpointing else ", with run.gradient_checkpointing=true if need be"
        )
        return (
            f"{images} crops of {height}x{width} pixels per step in {parts} part{'s' if parts > 1 else ''}. Free the "
            f"device of other programs and resume{recompute}; or start over with run.accumulate={2 * parts}, a smaller "
            f"dataset.augment.crop or a smaller schedule.{phase.stage}.labelled_batch"
            f"{' or the batch of unlabelled images' if phase.pseudo_batch else ''}, all of which change results"
        )

    def _warn(self, phase: Phase, log: PhaseLog, warnings: list[str]) -> None:
        for warning in warnings:
            log.warnings.append(f"{phase.name}: {warning}")
            self.progress.warn(log.warnings[-1])


def _phase_line(record: PhaseRecord) -> str:
    """Summary line of a finished phase."""
    pseudo = record.pseudo
    taught = ""
    if pseudo:
        quality = "" if pseudo.miou is None else f", mIoU {100 * pseudo.miou:.1f}"
        taught = f", taught by {record.label_from or record.teacher} ({pseudo.coverage:.0%} of pixels{quality})"
    elif record.teacher:
        taught = f", taught by {record.teacher}"
    dropped = f" ({len(record.dropped_steps)} dropped)" if record.dropped_steps else ""
    return f"{record.name}: mIoU {100 * record.miou_last:.1f} after {record.steps} steps{dropped}{taught}"
