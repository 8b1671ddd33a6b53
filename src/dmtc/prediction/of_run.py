"""Predicting files with the networks of a run: checks all options before writing anything, and keeps a record."""

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
from dmtc.evaluation import Predictor, build_evaluation, ensemble
from dmtc.machine.failures import explained
from dmtc.machine.settings import pick_workers
from dmtc.models.weights.files import sha256_of
from dmtc.prediction.arrays import resizing
from dmtc.prediction.outputs import Outputs
from dmtc.prediction.predicting import FilePredictor, Predicted
from dmtc.prediction.sources import find_sources
from dmtc.run.beginning import refuse_own_parts
from dmtc.run.folder import RunFolder
from dmtc.tracking.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOptions:
    """The networks to use, and their options.

    Attributes:
        networks: Letters of the networks whose probabilities are averaged; None for all of the run.
        checkpoint: "last" or "best" weights.
        evaluation: As in `conf/evaluation`: protocol, mirror images and scales.
        resize: Factor to resize images by before prediction; None for the same as in training.
        upright: Whether to follow orientation tags.
    """

    networks: str | None
    checkpoint: str
    evaluation: dict[str, Any]
    resize: float | None
    upright: bool


def chosen_networks(networks: str | None, known: Sequence[str]) -> str:
    """The letters of the chosen networks, each once.

    Args:
        networks: The letters; None for all.
        known: Letters of the run's networks.

    Raises:
        ConfigError: A letter is unknown or repeated, or there are none.
    """
    letters = "".join(known) if networks is None else networks
    if not letters or len(set(letters)) < len(letters) or not set(letters) <= set(known):
        choices = [*known, "".join(known)] if len(known) > 1 else known
        raise ConfigError(f"job.networks should be {' or '.join(choices)}, the networks of the run, but is {letters!r}")
    return letters


def predict_run(
    components: Components, folder: RunFolder, inputs: Sequence[str], outputs: Outputs, options: PredictionOptions
) -> Predicted:
    """Predict files with the networks of a run, and write a record of it next to the results.

    Several processes share the files.

    Args:
        components: The run's components.
        folder: The run's folder.
        inputs: As in `find_sources`.
        outputs: The files to write.
        options: The networks to use, and their options.

    Raises:
        ConfigError: A setting is out of range, or existing files must not be replaced or have other settings.
        DataError: There are no inputs, or their names do not fit the layout.
        WeightsError: The run does not have the weights yet.
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
        predictors.append(resizing(predictor, resize))
    settings = {
        "run": str(folder.path),
        "weights": {letter: sha256_of(path) for letter, path in weights.items()},
        **asdict(options),
        "networks": letters,
        "resize": resize,
        **outputs.settings(),
    }

    def prepare() -> list[str]:
        record = _earlier_record(outputs)
        left = outputs.left_to_do(targets)
        _refuse_other_settings(outputs, settings, record)
        if outputs.manifest.exists():
            remove_unfinished(outputs.folder)  # by a command that was killed
        outputs.manifest.record([outputs.record, *outputs.beside, *outputs.names_of(targets)])
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
        done = _sum(components.processes.all_gather(predict({source: targets[source] for source in left})))
    except Exception as error:
        memory = (
            f"run.label_batch={batch} images of one size at once: lower it; or show large images in windows by"
            " evaluation=sliding"
        )
        user_error = explained(error, outputs.folder, "predicting", memory, "the same command with job.existing=skip")
        if user_error is None:
            raise
        raise user_error from error
    finally:
        progress.close()
    if done.turned and components.processes.is_first:
        log.warning(
            "%s an orientation tag, which is ignored as in training; job.upright=true rotates such images",
            "1 image has" if done.turned == 1 else f"{done.turned} images have",
        )

    def finish() -> None:
        _write_record(outputs, settings, done)
        outputs.manifest.forget_gone()

    components.processes.broadcast(finish)
    return done


def _earlier_record(outputs: Outputs) -> dict[str, Any]:
    """The record of an earlier command in the folder; empty if there is none.

    Raises:
        ConfigError: A file of that name exists that no command has recorded.
        DataError: It is damaged, and `existing` is "skip".
    """
    path = outputs.folder / outputs.record
    if not os.path.lexists(path):
        return {}
    outputs.manifest.refuse_foreign([outputs.record])
    try:
        record = json.loads(read_regular(path))
        if not isinstance(record["settings"], dict) or not isinstance(record["written"], list):
            raise TypeError(f"it is not from job={outputs.job}")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        if outputs.existing == "skip":
            raise DataError(f"{path} is damaged ({error}); job.existing=replace predicts everything again") from None
        return {}
    return record


def _refuse_other_settings(outputs: Outputs, settings: dict[str, Any], record: dict[str, Any]) -> None:
    """Refuse to continue predictions made with other settings."""
    if outputs.existing != "skip" or not record:
        return
    compared = settings.keys() - {"run"}  # a run may have been moved; its weights are identified by their hash
    differing = [key for key in sorted(compared) if record["settings"].get(key) != settings[key]]
    if differing:
        raise ConfigError(
            f"{outputs.folder / outputs.record}: existing files were predicted with other settings"
            f" ({', '.join(differing)}); choose another output, or job.existing=replace"
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
    write_json(outputs.folder / outputs.record, record)


def _sum(parts: Sequence[Predicted]) -> Predicted:
    return Predicted(
        images=sum(part.images for part in parts),
        videos=sum(part.videos for part in parts),
        frames=sum(part.frames for part in parts),
        turned=sum(part.turned for part in parts),
        skipped=sorted(path for part in parts for path in part.skipped),
        seconds=max(part.seconds for part in parts),
    )


def prediction_summary(done: Predicted, folder: Path) -> str:
    """A one-line summary of the files predicted."""
    counts = [(done.images, "image"), (done.videos, "video"), (done.frames, "frame")]
    what = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts if count]
    speed = (done.images + done.frames) / max(done.seconds, 1e-9)
    if not what:
        return f"nothing left to do in {folder}"
    return f"{', '.join(what)} in {done.seconds:.1f} s ({speed:.1f} per second), written to {folder}"
