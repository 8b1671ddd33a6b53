"""Trains a phase, or phases that learn together: step, log, save and score, from start or checkpoint to the end."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from dmtc.batches import training_requests
from dmtc.core.errors import DataError, TrainingError
from dmtc.core.types import Batch
from dmtc.engine.context import RunContext
from dmtc.engine.label_scoring import LabelScorer, scored_line, values_of
from dmtc.engine.new_step import new_step
from dmtc.engine.phase_log import PhaseLog, Spent, Stopwatch
from dmtc.engine.scoring import score_networks
from dmtc.engine.step_metrics import StepMetrics
from dmtc.machine.peak_memory import peak_memory, reset_peak_memory
from dmtc.machine.processes import LostProcess, Processes
from dmtc.models import SegmentationModel, save_weights
from dmtc.pseudo.store import PseudoLabels
from dmtc.run.origin import Origin, require_origin
from dmtc.schedule import Phase
from dmtc.schedule.phase import kept_name, phases_before
from dmtc.tracking import RunLog

_CHECKPOINT_KEYS = ("step", "seconds", "students", "step_metrics", "logs", "made_from")


class Trainer:
    """Trains the network of a phase, or the networks of several phases that take their steps together.

    Args:
        phases: The phases, all of the same length; usually one.
        context: The run's context.
        metrics: Receives logged values.
        processes: Processes that train it together. All do the same; only the first one writes and shows progress.
        origins: Fingerprints of what each phase is made from; a checkpoint must have the same.

    Attributes:
        phase: The first phase, whose length, batches and rate hold for all.
        logs: Results of each phase so far, from the last checkpoint if there is one.
        begun: Whether there is a checkpoint.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        context: RunContext,
        metrics: RunLog,
        processes: Processes,
        origins: Sequence[Origin],
    ) -> None:
        self.phases = phases
        self.phase = phases[0]
        self.origins = origins
        self.context = context
        self.metrics = metrics
        self.processes = processes
        self._spent = Spent()
        reset_peak_memory(context.components.device)
        self._checkpoints = context.folder.checkpoints(self.phase.name)
        self._saved_at = time.monotonic()
        warn = context.progress.warn
        self._saved = processes.broadcast(
            lambda: self._checkpoints.load(
                lambda path: warn(f"{path} is damaged; resuming from what was saved before it")
            )
        )
        if self._saved is not None:
            self._require_whole(self._saved)
            for phase, saved, origin in zip(phases, self._saved["made_from"], origins, strict=True):
                require_origin(context.folder, phase, saved, origin)
        self.begun = self._saved is not None
        self.logs = (
            [PhaseLog.restored(each) for each in self._saved["logs"]] if self._saved else [PhaseLog() for _ in phases]
        )
        for phase, log in zip(phases, self.logs, strict=True):
            metrics.begin(phase.name, log.records)

    @property
    def name(self) -> str:
        """Names of the phases."""
        return " + ".join(phase.name for phase in self.phases)

    def train(
        self,
        models: Sequence[SegmentationModel],
        unlabelled: Sequence[str] = (),
        pseudo_labels: PseudoLabels | None = None,
    ) -> list[dict[str, Any]]:
        """Train to the end.

        Args:
            models: The network of each phase with its starting weights, which a checkpoint replaces. They keep their
                last weights afterward.
            unlabelled: The unlabelled images that the phases learn from, if any.
            pseudo_labels: Their labels, if an earlier phase made any.

        Returns:
            Results for the record of each phase.

        Raises:
            TrainingError: A loss or gradient is not finite. This is detected when values are logged, or before a
                checkpoint or evaluation.
            RunStopped: A stop was requested; a checkpoint is written.
        """
        self._step, self._rate = new_step(self.context.components, self.phases, models, self.processes)
        self._labels = LabelScorer(self.context.components, self._step, self.processes)
        done = self._restore()
        phase, scored_after = self.phase, self.phase.scored_after
        with self._shown(done):
            if done > 0 and done in scored_after:  # the checkpoint precedes the evaluation, which may be unfinished
                self._score(done)
            self._step.train()
            for number, batch in enumerate(self._batches(done, unlabelled, pseudo_labels), done):
                progress = number / phase.steps
                learning_rate = phase.learning_rate * self._rate(progress)
                values = self._step(number, batch, learning_rate, progress)
                self._step_metrics.add(values, batch.ids, self._step.batch_size)
                done = number + 1
                if values.fault is not None:
                    self._report_dropped(done, values.fault, batch)
                self.context.progress.advance(1, phases=len(self.phases))

                if done % self.context.components.run.log_every == 0 or done == phase.steps:
                    self._log_steps(done, learning_rate)
                if done in phase.kept_after:
                    self._save_all_weights(kept_name(done))
                if done in scored_after or self._wants_save():
                    self._save(done)
                if done in scored_after:
                    self._score(done)
                    self._step.train()
            assert done == phase.steps, f"phase {phase.name} has {phase.steps} steps, but batches for {done}"
        self._save_all_weights("last")
        self._update_logs()
        return [self._outcome(index) for index in range(len(self.phases))]

    def _require_whole(self, saved: Mapping[str, Any]) -> None:
        """Check that a checkpoint has everything `_save` writes."""
        if missing := [key for key in _CHECKPOINT_KEYS if key not in saved]:
            raise DataError(
                f"{self._checkpoints.last()} is damaged, or of another version of dmtc: it has no {missing[0]};"
                f" delete it, and phase {self.phase.name} starts over"
            )

    @contextmanager
    def _shown(self, done: int) -> Iterator[None]:
        """Show progress, and add advice to the error if a loss or gradient is not finite."""
        self.context.progress.begin(f"{self.name} training", self.phase.steps, "step", done)
        try:
            yield
        except LostProcess:
            raise
        except TrainingError as error:
            raise TrainingError(f"{error}. {self._advice()}") from error
        finally:
            self.context.progress.end()

    def _outcome(self, index: int) -> dict[str, Any]:
        components = self.context.components
        return self.logs[index].outcome(components.evaluation.metrics, components.run.monitor) | {
            "train_images_per_s": self.phase.steps * self._step.batch_size / self._clock.seconds(),
            "made_from": self.origins[index],
        }

    def _batches(self, start: int, unlabelled: Sequence[str], pseudo_labels: PseudoLabels | None) -> Iterator[Batch]:
        """This process's part of each batch, from a step on."""
        components = self.context.components
        labelled, seed = components.split.subsets[self.phase.trainee], components.config["seed"]
        steps = training_requests(
            self.phase, labelled, unlabelled, pseudo_labels, seed, start, self._step.showing.extra_rows
        )
        return self.context.loader.crops(self.processes.share(requests) for requests in steps)

    def _report_dropped(self, step: int, fault: str, batch: Batch) -> None:
        ids = [id for of_one in self.processes.all_gather(batch.ids) for id in of_one]
        for log in self.logs:
            log.dropped_steps.append(step)
        self.context.progress.warn(f"{self.name}: step {step} is dropped, as {fault} (images {', '.join(ids)})")

    def _log_steps(self, done: int, learning_rate: float) -> None:
        """Log the mean of each value since the last record."""
        metrics = self._step_metrics
        metrics.check(self.phase.name, done, self.phase.steps, self.processes)
        images_per_s = metrics.images / (self._clock.seconds() - metrics.since)
        if means := metrics.means():
            values = {"learning_rate": learning_rate, "images_per_s": images_per_s}
            self.context.progress.show(self.phase, done, {**means, **values})
            memory = {"memory_bytes": peak_memory(self.context.components.device)}
            for phase, student in zip(self.phases, self._step.students, strict=True):
                self._log(phase, done, {**student.own(means), **values, **memory})
        self._step_metrics = StepMetrics(since=self._clock.seconds())

    def _score(self, done: int) -> None:
        """Score each network, and the average of its weights if there is one, and save the best."""
        context, evaluation = self.context, self.context.components.evaluation
        for index, (phase, student) in enumerate(zip(self.phases, self._step.students, strict=True)):
            log, what = self.logs[index], f"{phase.name} scoring"
            activity = context.activity.during(f"scoring {phase.name}", context.memory_of_whole_images())
            with self._clock.paused(), activity:
                predict = context.networks.predictor(student.model)
                networks = {which: student.predictor(predict, which) for which in student.scored}
                scored = score_networks(context, networks, evaluation, what, self.processes, ensemble=False)
                scores = scored[student.scored[0]]
                others = {f"{which}_miou": of.miou for which, of in scored.items() if len(scored) > 1}
                values = {"miou": scores.miou, **others, **scores.overall}
                if log.is_best(values, context.components.run.monitor):
                    self._save_weights("best", index)
                values |= self._score_labels(index, done)
                log.evaluations.append({"step": done, "iou": list(scores.iou), **values})
                if phase.teacher is not None:
                    context.progress.say(scored_line(phase, done, values))
                self._log(phase, done, values)

    def _score_labels(self, index: int, done: int) -> dict[str, float]:
        """Compare the labels of a teacher within the step with the truth, where it is known."""
        if (phase := self.phases[index]).teacher is None:
            return {}
        self.logs[index].pseudo = pseudo = self._labels.scores(index, min(done, phase.steps - 1) / phase.steps)
        return {} if pseudo is None else values_of(pseudo)

    def _wants_save(self) -> bool:
        due = time.monotonic() - self._saved_at >= 60 * self.context.components.run.checkpoint_minutes
        # All processes must save, and maybe stop, after the same step, whichever one got the signal.
        signum, due = self.processes.all_reduce_max(self.context.interruption.signum or 0, due)
        self.context.interruption.learn(signum)
        return bool(signum or due)

    def _save(self, done: int) -> None:
        """Write a checkpoint, after checking that all losses and gradients so far are finite."""
        self._step_metrics.check(self.phase.name, done, self.phase.steps, self.processes)
        seconds = self._clock.seconds()
        with self._clock.paused():
            self._update_logs()
            content = {
                "step": done,
                "seconds": seconds,
                "students": [student.state() for student in self._step.students],
                "step_metrics": self._step_metrics.state(),
                "logs": [asdict(log) for log in self.logs],
                "made_from": list(self.origins),
            }
            self.processes.broadcast(lambda: str(self._checkpoints.save(done, content)))
            self._saved_at = time.monotonic()
            self.context.interruption.check(f"after step {done} of {self.phase.steps} of phase {self.name}")

    def _restore(self) -> int:
        """Load the last checkpoint, if there is one; returns the number of steps already done."""
        saved, self._saved = self._saved, None  # free it soon: it is large
        if saved is None:
            self._step_metrics, self._clock = StepMetrics(), Stopwatch()
            return 0
        for student, state in zip(self._step.students, saved["students"], strict=True):
            student.restore(state)
        self._step_metrics = StepMetrics.restored(saved["step_metrics"])
        self._clock = Stopwatch(saved["seconds"])
        done = saved["step"]
        self.context.progress.say(f"{self.name}: resuming after step {done} of {self.phase.steps}")
        self.context.progress.skip(done * len(self.phases))
        return done

    def _save_all_weights(self, which: str) -> None:
        for index in range(len(self.phases)):
            self._save_weights(which, index)

    def _save_weights(self, which: str, index: int) -> None:
        """Save the weights that are scored: they are also what later phases start from."""
        student, path = self._step.students[index], self.context.folder.weights_path(self.phases[index].name, which)
        with student.in_place(student.scored[0]):
            sha256 = self.processes.broadcast(lambda: save_weights(student.model, path))
        self.logs[index].weights[which] = sha256

    def _update_logs(self) -> None:
        seconds, cpu_seconds = self._spent.take()
        here = peak_memory(self.context.components.device), self.context.loader.take_skipped(), cpu_seconds
        everywhere = self.processes.all_gather(here)
        for phase, log in zip(self.phases, self.logs, strict=True):
            log.seconds += seconds / len(self.phases)
            log.records = self.metrics.count(phase.name)
            for most, skipped, of_one in everywhere:
                log.cpu_seconds += of_one / len(self.phases)
                log.peak_memory = max(log.peak_memory, most)
                log.skipped = dict(sorted((Counter(log.skipped) + Counter(skipped)).items()))

    def _log(self, phase: Phase, step: int, values: dict[str, float]) -> None:
        before = sum(earlier.steps for earlier in phases_before(phase, self.context.components.plan))
        address = {"phase": phase.name, "network": phase.trainee, "step": step}
        self.metrics.log({**address, "total_step": before + step, **values})

    def _advice(self) -> str:
        folder, last = self.context.folder, self._checkpoints.last()
        kept = f"the last good checkpoint is {last.relative_to(folder.path)}" if last else "no checkpoint yet"
        return (
            f"In this phase {kept}. To continue without such steps: {folder.resume_command} "
            f"run.on_nonfinite=skip; or start over with a lower schedule.{self.phase.rate_of}.learning_rate or with "
            "run.precision=float32"
        )
