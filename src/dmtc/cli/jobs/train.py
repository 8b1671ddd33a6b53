"""`job=train`: trains every phase of a plan and prints the results."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from dmtc.api.launch import train
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.files import read_regular
from dmtc.core.terminal import show


@JOBS.register("train")
def train_job(*, config: Config, folder: Path) -> float:
    """Train every phase and print the results."""
    run = train(config, folder)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return run.results["miou"]["mean_last"]  # a sweep prints one line per run and a final report instead
    show(read_regular(run.folder.path / "results.txt").decode())
    show(f"written to {run.folder.path}")
    return run.results["miou"]["mean_last"]
