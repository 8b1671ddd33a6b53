"""Description inside an exported file: how to use it, how it was made, and how good it is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dmtc.config.methods import method_title
from dmtc.core.version import __version__
from dmtc.data.task import Task
from dmtc.engine.components import Components
from dmtc.models import SegmentationModel
from dmtc.run.folder import RunFolder

FORMAT_VERSION = 1

_OF_THE_MACHINE = ("run", "logger", "job", "resume", "run_dir", "imports", "tag")
_OF_RESULTS = (
    "miou",
    "per_class_iou",
    "per_class_iou_of",
    "evaluation",
    "split",
    "seed",
    "commit",
    "best_is_chosen_on",
)


class Trained(Protocol):
    """What an export needs of a `dmtc.Run`."""

    folder: RunFolder

    @property
    def components(self) -> Components:
        """The run's components."""
        ...

    @property
    def networks(self) -> Sequence[str]:
        """Letters of the networks."""
        ...

    @property
    def task(self) -> Task:
        """Classes and colors."""
        ...

    def model(self, network: str = "a", phase: str | None = None, which: str = "last") -> SegmentationModel:
        """A trained network."""
        ...


def describe(
    components: Components,
    folder: RunFolder,
    models: Mapping[str, SegmentationModel],
    checkpoint: str,
    license: str | None,
) -> dict[str, Any]:
    """Everything that accompanies the weights, ready for JSON, without folders of this machine.

    Args:
        components: The run's components.
        folder: The run's folder.
        models: The networks by letter.
        checkpoint: "last" or "best".
        license: License of the weights, or None.

    Returns:
        `networks`, `checkpoint`, `averaged` (whether the weights are the moving average over the steps), `task` (data
        set, classes, colors, reduction), `models` (what each network is built from), `normalization` of each,
        `starting_weights` of each, `license`, `method`, `recipe` (the `experiment=` that was typed), `config`,
        `results` (from results.json; None for an unfinished run), `version`, `format_version`.
    """
    results = folder.read_results()
    config = _without_folders({k: v for k, v in components.config.items() if k not in _OF_THE_MACHINE})
    return {
        "format_version": FORMAT_VERSION,
        "library": "dmtc",
        "version": __version__,
        "networks": "".join(models),
        "checkpoint": checkpoint,
        "averaged": components.teacher.decay is not None and components.teacher.score == "average",
        "task": components.task.to_json(),
        "models": {letter: architecture(components.model_spec(letter)) for letter in models},
        "normalization": {letter: _normalization(model) for letter, model in models.items()},
        "starting_weights": {letter: _start(components, folder, letter, models[letter]) for letter in models},
        "license": license,
        "method": method_title(components.config),
        "recipe": _recipe(folder),
        "config": config,
        "results": None if results is None else {key: results[key] for key in _OF_RESULTS if key in results},
    }


def as_strings(description: Mapping[str, Any]) -> dict[str, str]:
    """The description for formats that store named strings: text unchanged, everything else as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in description.items()}


def architecture(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The config a network is built from, without its starting weights and what only training uses."""
    training = ("weights", "normalization", "tuning", "correlation")
    return {key: value for key, value in spec.items() if key not in training}


def _recipe(folder: RunFolder) -> str | None:
    given = [str(word).partition("=") for word in folder.read_environment().get("command", ())]
    return next((value for name, _, value in given if name == "experiment"), None)


def _normalization(model: SegmentationModel) -> dict[str, Any]:
    rule = model.backbone.normalization
    order = rule.channel_order.tolist()
    return {"mean": _rounded(rule.mean), "std": _rounded(rule.std), "channels": "".join("RGB"[i] for i in order)}


def _rounded(values: Any) -> list[float]:
    # The shortest decimals that round to the same float32.
    return [float(str(np.float32(value))) for value in values.tolist()]


def _start(components: Components, folder: RunFolder, letter: str, model: SegmentationModel) -> dict[str, Any]:
    """The starting weights of a network, and their license."""
    first = next(phase.name for phase in components.plan if phase.trainee == letter and phase.init_from is None)
    report = folder.read_weights_report(first)
    source = None if report is None else report["source"]
    if report is None:
        return {"source": "not recorded", "sha256": None, "license": None}
    if source is None:
        return {"source": "fresh", "sha256": None, "license": None}
    if source != "imagenet":
        return {"source": Path(source).name, "sha256": report["sha256"], "license": None}
    architecture = getattr(model.backbone, "arch", type(model.backbone).__name__)
    return {"source": f"published weights of {architecture}", "sha256": None, "license": published_license(model)}


def published_license(model: SegmentationModel) -> str | None:
    """The license of a backbone's published weights according to timm; None if unknown."""
    body, architecture = getattr(model.backbone, "body", None), getattr(model.backbone, "arch", None)
    if body is None or not isinstance(architecture, str):
        return None
    import timm  # slow to import, but already loaded with this backbone

    published = timm.get_pretrained_cfg(architecture)
    return None if published is None else published.license


def _without_folders(value: Any) -> Any:
    """A config with paths of this machine reduced to their last part."""
    if isinstance(value, Mapping):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    if isinstance(value, str) and "/" in value and _is_path(value):
        return Path(value).name
    return value


def _is_path(text: str) -> bool:
    path = Path(text)
    try:
        return path.is_absolute() or text.startswith(("~", ".")) or path.exists()
    except OSError:
        return False
