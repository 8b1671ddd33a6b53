"""The jobs of `job=...`, one file each. Importing this package registers all of them in `JOBS`."""

from dmtc.cli.jobs import benchmark, check, convert, evaluate, export, label, next, plan, predict, report, train
from dmtc.cli.jobs.registry import JOBS

__all__ = [
    "JOBS",
    "benchmark",
    "check",
    "convert",
    "evaluate",
    "export",
    "label",
    "next",
    "plan",
    "predict",
    "report",
    "train",
]
