"""Semi-supervised semantic segmentation: two networks teach each other.

cfg = dmtc.compose(["dataset=synthetic", "split.ratio=1/8"])
run = dmtc.train(cfg)
masks = run.predict(images)
"""

from typing import TYPE_CHECKING, Any

from dmtc.core.version import __version__ as __version__

if TYPE_CHECKING:
    from dmtc import data, evaluation, losses, models, pseudo, schedule, splits, tracking
    from dmtc.api.finding import load_runs, table
    from dmtc.api.launch import resume, train
    from dmtc.api.runs import Run
    from dmtc.api.sweeps import Sweep
    from dmtc.config.compose import compose
    from dmtc.conversion.pairs import write_pairs
    from dmtc.core import errors, registry, types
    from dmtc.export import Segmenter

__all__ = [
    "Run",
    "Segmenter",
    "Sweep",
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
    "table",
    "tracking",
    "train",
    "types",
    "write_pairs",
]

_HOMES = {"compose": "config.compose", "train": "api.launch", "resume": "api.launch"}
_HOMES |= {
    "Run": "api.runs",
    "load_runs": "api.finding",
    "table": "api.finding",
    "Segmenter": "export",
    "Sweep": "api.sweeps",
}
_HOMES |= {"write_pairs": "conversion.pairs"}
_HOMES |= dict.fromkeys(("errors", "registry", "types"), "core")


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import dmtc` and `--help` need no torch."""
    from importlib import import_module

    if name in _HOMES:
        home = f"dmtc.{_HOMES[name]}"
        return import_module(f"{home}.{name}") if home == "dmtc.core" else getattr(import_module(home), name)
    if name in __all__:
        return import_module(f"dmtc.{name}")
    raise AttributeError(f"module 'dmtc' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What completion in a notebook shows."""
    return sorted({*globals(), *__all__})
