"""Semi-supervised semantic segmentation: two networks teach each other.

cfg = dmtc.compose(["dataset=synthetic", "split.ratio=1/8"])
run = dmtc.train(cfg)
masks = run.predict(images)
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dmtc import data, errors, evaluation, losses, models, pseudo, registry, schedule, splits, tracking, types
    from dmtc.config import compose
    from dmtc.export import Segmenter
    from dmtc.launch import resume, train
    from dmtc.runs import Run, load_runs

__all__ = [
    "Run",
    "Segmenter",
    "compose",
    "data",
    "errors",
    "evaluation",
    "load_runs",
    "losses",
    "models",
    "pseudo",
    "registry",
    "resume",
    "schedule",
    "splits",
    "tracking",
    "train",
    "types",
]

_HOMES = {"compose": "config", "train": "launch", "resume": "launch", "Run": "runs", "load_runs": "runs"}
_HOMES |= {"Segmenter": "export"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import dmtc` and `--help` need no torch."""
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"dmtc.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"dmtc.{name}")
    raise AttributeError(f"module 'dmtc' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What completion in a notebook shows."""
    return sorted({*globals(), *__all__})
