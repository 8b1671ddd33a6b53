"""Trains one phase: step, log, save and score, from its start or last checkpoint to its end."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

from dmtc.batches import training_requests
from dmtc.core.errors import DataError, TrainingError
from dmtc.core.types import Batch
from dmtc.engine.average import AveragedWeights
from dmtc.engine.context import RunContext
from dmtc.engine.phase_log import PhaseLog, Stopwatch
from dmtc.engine.scoring import score_networks
from dmtc.engine.step import Step, Student
from dmtc.engine.step_metrics import StepMetrics
from dmtc.losses.terms import terms_of_stage
from dmtc.machine.peak_memory import peak_memory, reset_peak_memory
from dmtc.machine.processes import LostProcess, Processes
from dmtc.models import SegmentationModel, save_weights
from dmtc.pseudo.store import PseudoLabels
from dmtc.run.origin import Origin, require_origin
from dmtc.schedule import OPTIMIZERS, RATES, Phase
from dmtc.schedule.phase import phases_before
from dmtc.schedule.rates import warmed_up
from dmtc.tracking import RunLog

_CHECKPOINT_KEYS = ("step", "seconds", "model", "optimizer", "average", "step_metrics", "log", "made_from")


class Trainer:
    """Trains one phase.

    Args:
        phase: The phase to train.
        context: The run's context.
        metrics: Receives logged values.
        processes: Processes that train it together. All do the same; only the first one writes and shows progress.
        origin: Fingerprints of what the phase is made from; a checkpoint must have the same.

    Attributes:
        log: Results of the phase so far, from the last checkpoint if there is one.
        begun: Whether there is a checkpoint.
    """

    def __init__(
        self, phase: Phase, context: RunContext, metrics: RunLog, processes: Processes, origin: Origin
    ) -> None:
        self.phase = phase
        self.origin = origin
        self.context = context
        self.metrics = metrics
        self.processes = processes
        self._updated_at = time.perf_counter()
        reset_peak_memory(context.components.device)
        self._checkpoints = context.folder.checkpoints(phase.name)
        self._saved_at = time.monotonic()
        warn = context.progress.warn
        self._saved = processes.broadcast(
            lambda: self._checkpoints.load(
                lambda path: warn(f"{path} is damaged; resuming from what was saved before it")
            )
        )
        if self._saved is not None:
            self._require_whole(self._saved)
            require_origin(context.folder, phase, self._saved["made_from"], origin)
        self._steps_before = sum(earlier.steps for earlier in phases_before(phase, context.components.plan))
        self.begun = self._saved is not None
        self.log = PhaseLog.restored(self._saved["log"]) if self._saved else PhaseLog()
        metrics.begin(phase.name, self.log.records)

    def train(self, model: SegmentationModel, pseudo_labels: PseudoLabels | None = None) -> dict[str, Any]:
        """Train to the end.

        Args:
            model: The network with the phase's starting weights, which a checkpoint replaces. It keeps its last weights
                afterward.
            pseudo_labels: Labels of the unlabelled images, if the phase learns from any.

        Returns:
            Results for the phase's record.

        Raises:
            TrainingError: A loss or gradient is not finite. This is detected when values are logged, or before a
                checkpoint or evaluation.
            RunStopped: A stop was requested; a checkpoint is written.
        """
        self._build(model)
        done = self._restore()
        phase, scored_after = self.phase, self.phase.scored_after
        with self._shown(done):
            if done > 0 and done in scored_after:  # the checkpoint precedes the evaluation, which may be unfinished
                self._score(done)
            model.train()
            for number, batch in enumerate(self._batches(done, pseudo_labels), done):
                learning_rate = phase.learning_rate * self._rate(number / phase.steps)
                values = self._step(number, batch, learning_rate)
                self._step_metrics.add(values, batch.ids, self._step.batch_size)
                done = number + 1
                if values.fault is not None:
                    self._report_dropped(done, values.fault, batch)
                self.context.progress.advance(1, training=True)

                if done % self.context.components.run.log_every == 0 or done == phase.steps:
                    self._log_steps(done, learning_rate)
                if done in scored_after or self._wants_save():
                    self._save(done)
                if done in scored_after:
                    self._score(done)
                    model.train()
            assert done == phase.steps, f"phase {phase.name} has {phase.steps} steps, but batches for {done}"
        self._save_weights("last")
        self._update_log()
        return self._outcome()

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
        self.context.progress.begin(f"{self.phase.name} training", self.phase.steps, "step", done)
        try:
            yield
        except LostProcess:
            raise
        except TrainingError as error:
            raise TrainingError(f"{error}. {self._advice()}") from error
        finally:
            self.context.progress.end()

    def _outcome(self) -> dict[str, Any]:
        log, images = self.log, self.phase.steps * self._step.batch_size
        return {
            "miou_last": log.evaluations[-1]["miou"],
            "miou_best": max((each["miou"] for each in log.evaluations), key=_order),
            "iou_last": log.evaluations[-1]["iou"],
            "metrics_last": {name: log.evaluations[-1][name] for name in self.context.components.evaluation.metrics},
            "evaluations": log.evaluations,
            "seconds": log.seconds,
            "train_images_per_s": images / self._clock.seconds(),
            "peak_memory_bytes": log.peak_memory,
            "skipped": log.skipped,
            "dropped_steps": log.dropped_steps,
            "weights": log.weights,
            "made_from": self.origin,
        }

    def _build(self, model: SegmentationModel) -> None:
        components, phase = self.context.components, self.phase
        schedule = components.config["schedule"]
        optimizer = OPTIMIZERS.build(
            schedule["optimizer"],
            "schedule.optimizer",
            parameters=model.parameter_groups(),
            learning_rate=phase.learning_rate,
        )
        self._model = model
        self._average = None if schedule["ema"] is None else AveragedWeights(model, schedule["ema"])
        self._optimizer = optimizer
        curve = RATES.build(schedule["rate"], "schedule.rate", steps=phase.steps)
        self._rate = warmed_up(curve, schedule["warmup"])
        self._step = Step(
            [Student(model, terms_of_stage(components.terms, phase.stage), optimizer, self._average)],
            batch_size=phase.labelled_batch + phase.pseudo_batch,
            address=(components.config["seed"], phase.name),
            precision=components.precision,
            accumulate=components.run.accumulate,
            drop_nonfinite=components.run.on_nonfinite == "skip",
            processes=self.processes,
        )

    def _batches(self, start: int, pseudo_labels: PseudoLabels | None) -> Iterator[Batch]:
        """This process's part of each batch, from a step on."""
        components = self.context.components
        labelled, seed = components.split.subsets[self.phase.trainee], components.config["seed"]
        steps = training_requests(self.phase, labelled, components.split.unlabelled, pseudo_labels, seed, start)
        return self.context.loader.crops(self.processes.share(requests) for requests in steps)

    def _report_dropped(self, step: int, fault: str, batch: Batch) -> None:
        ids = [id for of_one in self.processes.all_gather(batch.ids) for id in of_one]
        self.log.dropped_steps.append(step)
        self.context.progress.warn(f"{self.phase.name}: step {step} is dropped, as {fault} (images {', '.join(ids)})")

    def _log_steps(self, done: int, learning_rate: float) -> None:
        """Log the mean of each value since the last record."""
        metrics = self._step_metrics
        metrics.check(self.phase.name, done, self.phase.steps, self.processes)
        images_per_s = metrics.images / (self._clock.seconds() - metrics.since)
        if means := metrics.means():
            values = {**means, "learning_rate": learning_rate, "images_per_s": images_per_s}
            self.context.progress.show(self.phase, done, values)
            self._log(done, {**values, "memory_bytes": peak_memory(self.context.components.device)})
        self._step_metrics = StepMetrics(since=self._clock.seconds())

    def _score(self, done: int) -> None:
        """Score the network, or the average of its weights, and save the best."""
        context, phase, earlier = self.context, self.phase, self.log.evaluations
        with self._clock.paused():
            with self._averaged(), context.activity.during(f"scoring {phase.name}", context.memory_of_whole_images()):
                networks = {phase.trainee: context.networks.predictor(self._model)}
                evaluation, what = context.components.evaluation, f"{phase.name} scoring"
                scores = score_networks(context, networks, evaluation, what, self.processes)[phase.trainee]
            if not earlier or _order(scores.miou) > max(_order(each["miou"]) for each in earlier):
                self._save_weights("best")
            earlier.append({"step": done, "miou": scores.miou, "iou": list(scores.iou), **scores.overall})
            self._log(done, {"miou": scores.miou, **scores.overall})

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
            self._update_log()
            content = {
                "step": done,
                "seconds": seconds,
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "average": None if self._average is None else self._average.state(),
                "step_metrics": self._step_metrics.state(),
                "log": asdict(self.log),
                "made_from": self.origin,
            }
            self.processes.broadcast(lambda: str(self._checkpoints.save(done, content)))
            self._saved_at = time.monotonic()
            self.context.interruption.check(f"after step {done} of {self.phase.steps} of phase {self.phase.name}")

    def _restore(self) -> int:
        """Load the last checkpoint, if there is one; returns the number of steps already done."""
        saved, self._saved = self._saved, None  # free it soon: it is large
        if saved is None:
            self._step_metrics, self._clock = StepMetrics(), Stopwatch()
            return 0
        self._model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        if self._average is not None:
            self._average.restore(saved["average"])
        self._step_metrics = StepMetrics.restored(saved["step_metrics"])
        self._clock = Stopwatch(saved["seconds"])
        done = saved["step"]
        self.context.progress.say(f"{self.phase.name}: going on after step {done} of {self.phase.steps}")
        self.context.progress.skip(done)
        return done

    def _averaged(self) -> AbstractContextManager[None]:
        """Put the averages, if there are any, in the network: they are scored, saved and passed to later phases."""
        return nullcontext() if self._average is None else self._average.in_place()

    def _save_weights(self, which: str) -> None:
        path = self.context.folder.weights_path(self.phase.name, which)
        with self._averaged():
            self.log.weights[which] = self.processes.broadcast(lambda: save_weights(self._model, path))

    def _update_log(self) -> None:
        log, now = self.log, time.perf_counter()
        log.seconds += now - self._updated_at
        self._updated_at = now
        log.records = self.metrics.count(self.phase.name)
        here = peak_memory(self.context.components.device), self.context.loader.take_skipped()
        for most, skipped in self.processes.all_gather(here):
            log.peak_memory = max(log.peak_memory, most)
            log.skipped = dict(sorted((Counter(log.skipped) + Counter(skipped)).items()))

    def _log(self, step: int, values: dict[str, float]) -> None:
        address = {"phase": self.phase.name, "network": self.phase.trainee, "step": step}
        self.metrics.log({**address, "total_step": self._steps_before + step, **values})

    def _advice(self) -> str:
        folder, last = self.context.folder.path, self._checkpoints.last()
        kept = f"the last good checkpoint is {last.relative_to(folder)}" if last else "no checkpoint yet"
        return (
            f"In this phase {kept}. To continue without such steps: python run.py resume={folder} "
            f"run.on_nonfinite=skip; or start over with a lower schedule.{self.phase.stage}.learning_rate or with "
            "run.precision=float32"
        )


def _order(miou: float) -> float:
    """Sort key for scores that puts NaN, the score of an absent class under `absent: undefined`, below all numbers."""
    return -math.inf if math.isnan(miou) else miou
