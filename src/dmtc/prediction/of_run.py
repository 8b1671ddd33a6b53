"""Predicting files with the networks of a run: what is asked for, checked before anything is written, and a record."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmtc.batches import Loader
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import read_regular, remove_unfinished, write_json
from dmtc.core.ownership import require_folder
from dmtc.core.version import __version__
from dmtc.data import Dataset
from dmtc.engine.components import Components
from dmtc.engine.inputs import refuse_among_inputs
from dmtc.engine.networks import Networks
from dmtc.evaluation import Predictor, build_evaluation, ensemble, shown_at
from dmtc.machine.failures import explained
from dmtc.machine.settings import pick_workers
from dmtc.models.weights.files import sha256_of
from dmtc.prediction.outputs import Outputs
from dmtc.prediction.predicting import FilePredictor, Predicted
from dmtc.prediction.sources import find_sources
from dmtc.run.beginning import refuse_own_parts
from dmtc.run.folder import RunFolder
from dmtc.tracking.progress import Progress

log = logging.getLogger(__name__)

RECORD = "predictions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOptions:
    """Which networks predict, and how.

    Attributes:
        networks: Letters of those whose probabilities are averaged; None for all of the run.
        checkpoint: "last" or "best" weights.
        evaluation: As in `conf/evaluation`: the protocol, mirror images and scales.
        resize: Height and width that are shown, as a factor of the picture's; None: as training read its images.
        upright: Follow orientation tags.
    """

    networks: str | None
    checkpoint: str
    evaluation: dict[str, Any]
    resize: float | None
    upright: bool


def chosen_networks(networks: str | None, known: Sequence[str]) -> str:
    """The letters of the networks that are meant, each once.

    Args:
        networks: As given; None for all.
        known: Letters of the run's.

    Raises:
        ConfigError: One of them is unknown, given twice, or there is none.
    """
    letters = "".join(known) if networks is None else networks
    if not letters or len(set(letters)) < len(letters) or not set(letters) <= set(known):
        choices = [*known, "".join(known)] if len(known) > 1 else known
        raise ConfigError(f"job.networks should be {' or '.join(choices)}, the networks of the run, but is {letters!r}")
    return letters


def predict_run(
    components: Components, folder: RunFolder, inputs: Sequence[str], outputs: Outputs, options: PredictionOptions
) -> Predicted:
    """Predict files with the networks of a run, and write `predictions.json` beside what is written of them.

    Several processes share the files.

    Args:
        components: Of the run.
        folder: Of the run.
        inputs: As in `find_sources`.
        outputs: What is written, and where.
        options: Which networks predict, and how.

    Raises:
        ConfigError: A setting is out of range, or what is already there must not be replaced or is not alike.
        DataError: There is no input, or its names do not suit the layout.
        WeightsError: The run has no such weights yet.
        MachineError: Memory does not suffice.
    """
    letters = chosen_networks(options.networks, components.networks)
    if options.checkpoint not in ("last", "best"):
        raise ConfigError(f"job.checkpoint should be last or best, but is {options.checkpoint!r}")
    resize = 1 / components.task.reduction if options.resize is None else options.resize
    if not 0 < resize < float("inf"):
        raise ConfigError(f"job.resize should be a factor above 0, or null, but is {options.resize}")
    evaluation = build_evaluation(options.evaluation, "evaluation")
    require_folder(outputs.folder, "output")
    refuse_own_parts(folder, outputs.folder, "output")
    sources = find_sources(inputs, outputs.folder)
    refuse_among_inputs(components, outputs.folder, "output")
    targets = outputs.targets(sources)

    last = {phase.trainee: phase.name for phase in components.plan}
    weights = {letter: folder.weights_path(last[letter], options.checkpoint) for letter in letters}
    networks = Networks(components, folder)
    predictors: list[Predictor] = []
    for letter in letters:
        network = networks.after(last[letter], options.checkpoint)
        predictor = evaluation.of_pictures(networks.predictor(network))
        predictors.append(_resizing(predictor, resize))
    settings = {
        "run": str(folder.path),
        "weights": {letter: sha256_of(path) for letter, path in weights.items()},
        **asdict(options),
        "networks": letters,
        "resize": resize,
    }

    def prepare() -> list[str]:
        before = _earlier_record(outputs)
        left = outputs.left_to_do(targets)
        _refuse_other_settings(outputs, settings, before)
        if outputs.manifest.exists():
            remove_unfinished(outputs.folder)  # by a command that was killed
        outputs.manifest.record([RECORD, *outputs.names_of(targets)])
        _write_record(outputs, settings, None)
        return [source.name for source in left]

    names = set(components.processes.broadcast(prepare))
    batch = components.run.label_batch
    left = components.processes.share([source for source in sources if source.name in names], batch)
    progress = Progress([], components.run.progress, silent=not components.processes.is_first)
    workers = pick_workers(components.run.workers, components.device, components.processes)

    def loader(dataset: Dataset) -> Loader:
        return Loader(dataset, components.augment, workers, components.device, "skip")

    predict = FilePredictor(
        ensemble(predictors),
        outputs,
        loader,
        device=components.device,
        batch=batch,
        upright=options.upright,
        progress=progress,
    )
    try:
        done = _added_up(components.processes.all_gather(predict({source: targets[source] for source in left})))
    except Exception as error:
        memory = (
            f"run.label_batch={batch} images of one size at once: lower it; or show large images in windows by"
            " evaluation=sliding"
        )
        told = explained(error, outputs.folder, "predicting", memory, "the same command with job.existing=skip")
        if told is None:
            raise
        raise told from error
    finally:
        progress.close()
    if done.turned and components.processes.is_first:
        log.warning(
            "%s an orientation tag, which is not followed, as in training; job.upright=true turns such pictures",
            "1 image carries" if done.turned == 1 else f"{done.turned} images carry",
        )

    def finish() -> None:
        _write_record(outputs, settings, done)
        outputs.manifest.forget_gone()

    components.processes.broadcast(finish)
    return done


def _resizing(predict: Predictor, factor: float) -> Predictor:
    if factor == 1:
        return predict
    return shown_at(predict, lambda height, width: (max(1, round(factor * height)), max(1, round(factor * width))))


def _earlier_record(outputs: Outputs) -> dict[str, Any]:
    """The record of an earlier command in the folder; empty if there is none.

    Raises:
        ConfigError: A file of that name is there that no command has recorded.
        DataError: It is damaged, and is to be gone on with.
    """
    path = outputs.folder / RECORD
    if not os.path.lexists(path):
        return {}
    outputs.manifest.refuse_foreign([RECORD])
    try:
        record = json.loads(read_regular(path))
        if not isinstance(record["settings"], dict) or not isinstance(record["written"], list):
            raise TypeError("it is not by job=predict")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        if outputs.existing == "skip":
            raise DataError(f"{path} is damaged ({error}); job.existing=replace makes all of it anew") from None
        return {}
    return record


def _refuse_other_settings(outputs: Outputs, settings: dict[str, Any], record: dict[str, Any]) -> None:
    """Refuse to go on with what was predicted otherwise."""
    if outputs.existing != "skip" or not record:
        return
    same = settings.keys() - {"run"}  # a run may have been moved; its weights are told by their hash
    differing = [key for key in sorted(same) if record["settings"].get(key) != settings[key]]
    if differing:
        raise ConfigError(
            f"{outputs.folder / RECORD}: what is there was predicted with other settings ({', '.join(differing)});"
            " choose another output, or job.existing=replace"
        )


def _write_record(outputs: Outputs, settings: dict[str, Any], done: Predicted | None) -> None:
    task = outputs.task.to_json()
    record = {
        "settings": settings,
        "written": [*outputs.kinds, *([outputs.layout] if outputs.layout else [])],
        "dataset": task["dataset"],
        "classes": task["classes"],
        "done": None if done is None else asdict(done),
        "version": __version__,
    }
    write_json(outputs.folder / RECORD, record)


def _added_up(components: Sequence[Predicted]) -> Predicted:
    return Predicted(
        images=sum(part.images for part in components),
        videos=sum(part.videos for part in components),
        frames=sum(part.frames for part in components),
        turned=sum(part.turned for part in components),
        skipped=sorted(path for part in components for path in part.skipped),
        seconds=max(part.seconds for part in components),
    )


def summary(done: Predicted, folder: Path) -> str:
    """What was done, in one line."""
    counts = [(done.images, "image"), (done.videos, "video"), (done.frames, "frame")]
    what = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts if count]
    speed = (done.images + done.frames) / max(done.seconds, 1e-9)
    if not what:
        return f"nothing was left to do in {folder}"
    return f"{', '.join(what)} in {done.seconds:.1f} s ({speed:.1f} a second), written to {folder}"
