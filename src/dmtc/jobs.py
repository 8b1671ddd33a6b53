"""What `python run.py job=...` can do."""

from pathlib import Path

from dmtc.assembly import Assembly
from dmtc.config import Config
from dmtc.environment import describe_environment
from dmtc.errors import ConfigError
from dmtc.evaluation import scores_of
from dmtc.execution import Executor
from dmtc.files import write_json
from dmtc.progress import Progress
from dmtc.registry import Registry
from dmtc.report import plan_table, scores_table, sweep_table
from dmtc.run_folder import RunFolder
from dmtc.runs import train

JOBS: Registry[float | None] = Registry("job", runtime=["config", "folder"])
"""Builders do the work and return the final mIoU for sweeps, or None; they may take `config` and `folder: Path`."""


@JOBS.register("train")
def train_job(*, config: Config, folder: Path) -> float:
    """Train every phase and print the results."""
    run = train(config, folder)
    print((run.folder.path / "results.txt").read_text())
    print(f"written to {run.folder.path}")
    return run.results["miou"]["mean_last"]


@JOBS.register("plan")
def plan_job(*, config: Config) -> None:
    """Print the phases that would run; write nothing."""
    parts = Assembly(config)
    print(plan_table(parts.plan, parts.split), end="")


@JOBS.register("evaluate")
def evaluate_job(*, config: Config, checkpoint: str) -> float:
    """Score the networks of a run, and their ensemble, on the validation images."""
    if config["run_dir"] is None:
        raise ConfigError("job=evaluate needs the run's folder: python run.py job=evaluate run=RUN_DIR")
    if checkpoint not in ("last", "best"):
        raise ConfigError(f"job.checkpoint should be last or best, but is {checkpoint!r}")
    folder = RunFolder.existing(config["run_dir"])
    stored = folder.read_config() | {"run": config["run"]}
    parts = Assembly(stored, folder.read_split())
    executor = Executor(parts, folder, Progress([], "off"), trackers=[])
    groups = [[network] for network in parts.networks]
    if len(parts.networks) > 1:
        groups.append(parts.networks)
    scores = {"+".join(group): scores_of(executor.confusion(group, checkpoint)) for group in groups}
    print(scores_table(scores, parts.dataset.classes))
    record = {
        "checkpoint": checkpoint,
        "miou": {name: score.miou for name, score in scores.items()},
        "iou": {name: dict(zip(parts.dataset.classes, score.iou, strict=True)) for name, score in scores.items()},
        "environment": describe_environment(parts.device),
    }
    write_json(folder.path / f"evaluation-{checkpoint}.json", record)
    return list(scores.values())[-1].miou


@JOBS.register("report")
def report_job(*, runs: str | None) -> None:
    """Print one Markdown table of all finished runs below a folder."""
    if runs is None:
        raise ConfigError("job=report needs a folder of runs: python run.py job=report runs=DIR")
    print(sweep_table(Path(runs)), end="")
