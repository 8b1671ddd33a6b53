"""Training one phase, from its start or its last checkpoint to its record."""

import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from dmtc.engine.assembly import Assembly
from dmtc.engine.averaging import AveragedWeights
from dmtc.engine.optimization import OPTIMIZERS, RATES, warmed_up
from dmtc.engine.terms import terms_of_stage
from dmtc.engine.training import LoopEvents, LoopSettings, LoopState, train_phase
from dmtc.errors import TrainingError
from dmtc.evaluation import Scores
from dmtc.interruption import Interruption
from dmtc.models import SegmentationModel, save_weights
from dmtc.processes import LostProcess, Processes
from dmtc.progress import Progress
from dmtc.run_folder import RunFolder
from dmtc.schedule import Phase, phases_before
from dmtc.tracking import Metrics
from dmtc.types import Batch


@dataclass(slots=True)
class Course:
    """What came of a phase so far, apart from weights.

    Attributes:
        pseudo: Scores of its pseudo-labels, None without any.
        evaluations: One entry each, with step, mIoU, IoU of each class, accuracy.
        dropped_steps: Steps whose loss or gradient was not finite.
        skipped: How often each image that cannot be used was skipped.
        warnings: One line each.
        seconds: Spent on it, until it was last brought up to date; so are the following.
        peak_memory: Bytes, of the process that needs most.
        records: Lines of metrics.jsonl.
    """

    pseudo: dict[str, Any] | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    dropped_steps: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory: int = 0
    records: int = 0


class PhaseTraining:
    """One phase under way.

    Args:
        phase: What is trained.
        parts: Of the run.
        folder: Where weights and checkpoints go.
        progress: Where a person looks.
        metrics: Where values go.
        interruption: Looked at after every step.
        processes: Which train it together. All are told the same; the first one writes and shows it.

    Attributes:
        course: What came of it so far; that of the last checkpoint, if there is one.
        begun: Whether there is one.
    """

    def __init__(
        self,
        phase: Phase,
        parts: Assembly,
        folder: RunFolder,
        progress: Progress,
        metrics: Metrics,
        interruption: Interruption,
        processes: Processes,
    ) -> None:
        self.phase = phase
        self.parts = parts
        self.folder = folder
        self.progress = progress
        self.metrics = metrics
        self.interruption = interruption
        self.processes = processes
        self._counted_to = time.perf_counter()
        _reset_peak_memory(parts.device)
        self._checkpoints = folder.checkpoints(phase.name)
        self._saved_at = time.monotonic()
        self._saved = processes.first_says(
            lambda: self._checkpoints.load(
                lambda path: progress.warn(f"{path} is damaged; going on from what was saved before it")
            )
        )
        self._steps_before = sum(earlier.steps for earlier in phases_before(phase, parts.plan))
        self.begun = self._saved is not None
        self.course = Course(**self._saved["course"]) if self._saved else Course()
        metrics.begin(phase.name, self.course.records)

    def run(
        self,
        model: SegmentationModel,
        batches: Callable[[int], Iterator[Batch]],
        score: Callable[[], Scores],
        take_skipped: Callable[[], dict[str, int]],
    ) -> dict[str, Any]:
        """Train to the end.

        Args:
            model: With the weights that the phase starts from; those of a checkpoint replace them.
            batches: The batches from a step on.
            score: Scores the model on the validation images.
            take_skipped: How often each image was skipped since it was last asked.

        Returns:
            What came of it, for the phase's record.

        Raises:
            TrainingError: A loss or gradient is not finite.
            RunStopped: Asked to stop; a checkpoint is written.
        """
        parts, phase, run = self.parts, self.phase, self.parts.run
        schedule = parts.config["schedule"]
        self._model, self._score, self._take_skipped = model, score, take_skipped
        self._optimizer = OPTIMIZERS.build(
            schedule["optimizer"],
            "schedule.optimizer",
            parameters=model.parameter_groups(),
            learning_rate=phase.learning_rate,
        )
        # Runs from before there was a choice had neither.
        decay, warmup = schedule.get("ema"), schedule.get("warmup", 0.0)
        self._average = None if decay is None else AveragedWeights(model, decay)
        state = self._restored()
        self.progress.begin(f"{phase.name} training", phase.steps, "step", state.step)
        try:
            seconds = train_phase(
                phase,
                model,
                batches(state.step),
                terms_of_stage(parts.terms, phase.stage),
                self._optimizer,
                warmed_up(RATES.build(schedule["rate"], "schedule.rate"), warmup),
                LoopSettings(
                    parts.config["seed"], parts.precision, run.accumulate, run.log_every, run.on_nonfinite == "skip"
                ),
                LoopEvents(self._stepped, self._logged, self._evaluate, self._dropped, self._wants_save, self._save),
                state,
                self.processes,
                self._average,
            )
        except LostProcess:
            raise
        except TrainingError as error:
            raise TrainingError(f"{error}. {self._way_out()}") from error
        finally:
            self.progress.end()
        self._save_weights("last")
        self._bring_up_to_date()
        course = self.course
        return {
            "miou_last": course.evaluations[-1]["miou"],
            "miou_best": max((each["miou"] for each in course.evaluations), key=_order),
            "iou_last": course.evaluations[-1]["iou"],
            "evaluations": course.evaluations,
            "seconds": course.seconds,
            "train_images_per_s": phase.steps * (phase.labelled_batch + phase.pseudo_batch) / seconds,
            "peak_memory_bytes": course.peak_memory,
            "skipped": course.skipped,
            "dropped_steps": course.dropped_steps,
        }

    def _restored(self) -> LoopState:
        if self._saved is None:
            return LoopState()
        self._model.load_state_dict(self._saved["model"])
        self._optimizer.load_state_dict(self._saved["optimizer"])
        if self._average is not None:
            self._average.restore(self._saved["average"])
        state = LoopState.restored(self._saved["loop"])
        self._saved = None  # it is large
        self.progress.say(f"{self.phase.name}: going on after step {state.step} of {self.phase.steps}")
        self.progress.skip(state.step)
        return state

    def _stepped(self, images: int) -> None:
        self.progress.advance(1, training=True)

    def _logged(self, step: int, values: dict[str, float]) -> None:
        self.progress.show(self.phase, step, values)
        self._log(step, {**values, "memory_bytes": _peak_memory(self.parts.device)})

    def _evaluate(self, step: int) -> None:
        with self._averaged():
            result, earlier = self._score(), self.course.evaluations
        if not earlier or _order(result.miou) > max(_order(each["miou"]) for each in earlier):
            self._save_weights("best")
        earlier.append({"step": step, "miou": result.miou, "iou": list(result.iou), "accuracy": result.accuracy})
        self._log(step, {"miou": result.miou, "accuracy": result.accuracy})

    def _dropped(self, step: int, fault: str, ids: tuple[str, ...]) -> None:
        self.course.dropped_steps.append(step)
        self.progress.warn(f"{self.phase.name}: step {step} is dropped, as {fault} (images {', '.join(ids)})")

    def _wants_save(self) -> bool:
        due = time.monotonic() - self._saved_at >= 60 * self.parts.run.checkpoint_minutes
        # All save, and perhaps stop, after the same step, whichever of them is asked to.
        signum, due = self.processes.highest(self.interruption.signum or 0, due)
        self.interruption.learn(signum)
        return bool(signum or due)

    def _averaged(self) -> AbstractContextManager[None]:
        """With the weights that are scored, kept, and go on to later phases: the averages, if there are any."""
        return nullcontext() if self._average is None else self._average.in_place()

    def _save_weights(self, which: str) -> None:
        path = self.folder.weights_path(self.phase.name, which)
        with self._averaged():
            self.processes.first_says(lambda: save_weights(self._model, path))

    def _save(self, state: LoopState) -> None:
        self._bring_up_to_date()
        content = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state(),
            "loop": state.state(),
            "course": asdict(self.course),
        }
        self.processes.first_says(lambda: str(self._checkpoints.save(state.step, content)))
        self._saved_at = time.monotonic()
        self.interruption.check(f"after step {state.step} of {self.phase.steps} of phase {self.phase.name}")

    def _bring_up_to_date(self) -> None:
        course, now = self.course, time.perf_counter()
        course.seconds += now - self._counted_to
        self._counted_to = now
        course.records = self.metrics.count(self.phase.name)
        for peak_memory, skipped in self.processes.gathered((_peak_memory(self.parts.device), self._take_skipped())):
            course.peak_memory = max(course.peak_memory, peak_memory)
            course.skipped = dict(sorted((Counter(course.skipped) + Counter(skipped)).items()))

    def _log(self, step: int, values: dict[str, float]) -> None:
        address = {"phase": self.phase.name, "network": self.phase.trainee, "step": step}
        self.metrics.log({**address, "total_step": self._steps_before + step, **values})

    def _way_out(self) -> str:
        last = self._checkpoints.last()
        kept = f"the last good checkpoint is {last.relative_to(self.folder.path)}" if last else "no checkpoint yet"
        return (
            f"In this phase {kept}. To go on without such steps: python run.py resume={self.folder.path} "
            f"run.on_nonfinite=skip; or start anew with a lower schedule.{self.phase.stage}.learning_rate or with "
            "run.precision=float32"
        )


def _order(miou: float) -> float:
    """For comparing scores: NaN, which an absent class makes under `absent: undefined`, is below every number."""
    return -math.inf if math.isnan(miou) else miou


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the phase's most allocated memory, elsewhere the most the whole process ever held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
