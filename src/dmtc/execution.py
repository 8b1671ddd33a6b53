"""Carrying a plan out: for each phase that is not done, let its teacher label, train it, score it, keep it."""

import dataclasses
import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dmtc.assembly import Assembly
from dmtc.batches import Loader, training_requests
from dmtc.evaluation import Evaluation, Predictor, Scores, evaluate
from dmtc.models import SegmentationModel, load_weights, save_weights
from dmtc.optimization import OPTIMIZERS, RATES
from dmtc.progress import Progress
from dmtc.pseudo import PseudoLabelStore, label_images
from dmtc.quality import score_pseudo_labels
from dmtc.run_folder import RunFolder
from dmtc.schedule import Phase
from dmtc.settings import pick_workers
from dmtc.terms import terms_of_stage
from dmtc.tracking import Tracker
from dmtc.training import LoopEvents, LoopSettings, train_phase


class Executor:
    """Carries a plan out in a run folder; what the folder already holds is not done again.

    Args:
        parts: Data set, split, plan, losses and networks.
        folder: Where everything is written.
        progress: Where a person looks.
        trackers: Where metrics go.
    """

    def __init__(self, parts: Assembly, folder: RunFolder, progress: Progress, trackers: list[Tracker]) -> None:
        self.parts = parts
        self.folder = folder
        self.progress = progress
        self.trackers = trackers
        self.loader = Loader(parts.dataset, parts.augment, pick_workers(parts.run.workers, parts.device), parts.device)
        self._models: dict[str, SegmentationModel] = {}
        self._reported_weights: set[str] = set()

    def execute(self) -> None:
        """Run every phase of the plan that has no record yet."""
        for phase in self.parts.plan:
            if self.folder.read_phase(phase.name) is not None:
                self.progress.skip(phase)
                continue
            self.folder.write_phase(self._run_phase(phase))

    def scores(self, evaluation: Evaluation, which: str = "last") -> dict[str, Scores]:
        """Scores on the validation images of every network after its last phase, and last of their ensemble."""
        last = {phase.trainee: phase.name for phase in self.parts.plan}
        networks = {name: self.predictor(self._with_weights_of(last[name], which)) for name in self.parts.networks}
        return self._scores(networks, evaluation)

    def predictor(self, model: SegmentationModel) -> Predictor:
        """The network in evaluation mode, without gradient, in the run's precision."""
        parts = self.parts

        def predict(images: Tensor) -> Tensor:
            model.eval()
            with (
                torch.inference_mode(),
                torch.autocast(parts.device.type, parts.precision, enabled=parts.precision.itemsize < 4),
            ):
                return model(images)

        return predict

    def _run_phase(self, phase: Phase) -> dict[str, Any]:
        parts, run = self.parts, self.parts.run
        started = time.perf_counter()
        _reset_peak_memory(parts.device)
        record: dict[str, Any] = {
            "name": phase.name,
            "trainee": phase.trainee,
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
            truth = parts.dataset if run.score_pseudo_labels else None
            record["pseudo"] = score_pseudo_labels(store, phase.label_ratio, parts.split.unlabelled, truth)

        if phase.init_from is None:
            model = self._model(phase.trainee)
            self._load_starting_weights(model, phase)
        else:
            model = self._with_weights_of(phase.init_from)
        requests = training_requests(
            phase,
            parts.split.subsets[phase.trainee],
            parts.split.unlabelled,
            pseudo_labels,
            parts.config["seed"],
        )
        scores: list[dict[str, Any]] = []

        def stepped(images: int) -> None:
            self.progress.advance(1, training=True)

        def logged(step: int, values: dict[str, float]) -> None:
            self.progress.show(phase, step, values)
            self._log(phase, step, values)

        def evaluated(step: int) -> None:
            result = self._scores({phase.trainee: self.predictor(model)}, parts.evaluation)[phase.trainee]
            if not scores or _order(result.miou) > max(_order(score["miou"]) for score in scores):
                save_weights(model, self.folder.weights_path(phase.name, "best"))
            scores.append({"step": step, "miou": result.miou, "iou": list(result.iou), "accuracy": result.accuracy})
            self._log(phase, step, {"miou": result.miou, "accuracy": result.accuracy})

        optimizer, rate = self.parts.config["schedule"]["optimizer"], self.parts.config["schedule"]["rate"]
        with self._shown(f"{phase.name} training", phase.steps, "step"):
            seconds = train_phase(
                phase,
                model,
                self.loader.crops(requests),
                terms_of_stage(parts.terms, phase.stage),
                OPTIMIZERS.build(
                    optimizer,
                    "schedule.optimizer",
                    parameters=[p for p in model.parameters() if p.requires_grad],
                    learning_rate=phase.learning_rate,
                ),
                RATES.build(rate, "schedule.rate"),
                LoopSettings(parts.config["seed"], parts.precision, run.accumulate, run.log_every),
                LoopEvents(stepped, logged, evaluated),
            )
        save_weights(model, self.folder.weights_path(phase.name, "last"))
        record |= {
            "miou_last": scores[-1]["miou"],
            "miou_best": max((score["miou"] for score in scores), key=_order),
            "iou_last": scores[-1]["iou"],
            "evaluations": scores,
            "seconds": time.perf_counter() - started,
            "train_images_per_s": phase.steps * (phase.labelled_batch + phase.pseudo_batch) / seconds,
            "peak_memory_bytes": _peak_memory(parts.device),
        }
        self.progress.say(_phase_line(record))
        return record

    def _labelled_by(self, teacher_phase: str) -> PseudoLabelStore:
        """The teacher's predictions; made now if no earlier phase or run has made them."""
        store = self.folder.store(teacher_phase)
        if not store.is_complete():
            ids = self.parts.split.unlabelled
            images = self.loader.images(ids, self.parts.run.label_batch, with_mask=False)
            with self._shown(f"{teacher_phase} labels", len(ids), "image"):
                label_images(
                    self.predictor(self._with_weights_of(teacher_phase)),
                    ((list(batch.ids), batch.image) for batch in images),
                    store,
                    self.parts.dataset.num_classes,
                    self.progress.advance,
                )
        return store

    def _scores(self, networks: Mapping[str, Predictor], evaluation: Evaluation) -> dict[str, Scores]:
        images = self.loader.images(self.parts.dataset.val, self.parts.run.label_batch, with_mask=True)
        return evaluate(networks, images, self.parts.dataset.num_classes, evaluation)

    def _model(self, network: str) -> SegmentationModel:
        """The one instance of a network; phases load into it what they need, so nothing is compiled twice."""
        if network not in self._models:
            model = self.parts.model(network).to(self.parts.device)
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # not in torch's stubs
            if self.parts.run.compile:
                model.maps = torch.compile(model.maps)
            self._models[network] = model
        return self._models[network]

    def _with_weights_of(self, phase_name: str, which: str = "last") -> SegmentationModel:
        trainee = next(phase.trainee for phase in self.parts.plan if phase.name == phase_name)
        model = self._model(trainee)
        load_weights(model, str(self.folder.weights_path(phase_name, which)))
        return model

    def _load_starting_weights(self, model: SegmentationModel, phase: Phase) -> None:
        # Fresh weights first: a resumed run may have used this instance for another phase.
        model.load_state_dict(self.parts.model(phase.trainee).state_dict())
        report = self.parts.load_starting_weights(model, phase.trainee)
        self.folder.write_weights_report(phase.name, dataclasses.asdict(report))
        self.progress.say(f"network {phase.trainee}: {report.summary()}")

    @contextmanager
    def _shown(self, what: str, total: int, unit: str) -> Iterator[None]:
        self.progress.begin(what, total, unit)
        try:
            yield
        finally:
            self.progress.end()

    def _log(self, phase: Phase, step: int, values: dict[str, float]) -> None:
        record = {"phase": phase.name, "network": phase.trainee, "step": step, **values}
        for tracker in self.trackers:
            tracker.log(record)


def _order(miou: float) -> float:
    """For comparing scores: NaN, which an absent class makes under `absent: undefined`, is below every number."""
    return -math.inf if math.isnan(miou) else miou


def _phase_line(record: dict[str, Any]) -> str:
    """One line about a finished phase."""
    pseudo = record["pseudo"]
    labels = ""
    if pseudo:
        quality = "" if pseudo["miou"] is None else f", their mIoU {pseudo['miou']:.3f}"
        labels = f"{pseudo['coverage']:.0%} of pixels pseudo-labelled by {record['label_from']}{quality}; "
    return f"{record['name']}: {labels}mIoU {record['miou_last']:.3f} after {record['steps']} steps"


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the phase's most allocated memory, elsewhere the most the whole process ever held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
