"""What `python run.py job=...` can do."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from dmtc.checking import check_data, summary
from dmtc.config import Config, compose, config_folder, import_modules, settle
from dmtc.cost import measure_cost
from dmtc.engine.assembly import Assembly
from dmtc.engine.execution import Executor
from dmtc.environment import describe_environment
from dmtc.errors import ConfigError, DataError
from dmtc.evaluation import PROTOCOLS, Absent, build_evaluation, title_of
from dmtc.files import write_json
from dmtc.launch import train
from dmtc.progress import Progress
from dmtc.registry import Registry
from dmtc.report import (
    cost_page,
    plan_table,
    protocols_table,
    scores_table,
    write_run_report,
    write_sweep_report,
)
from dmtc.run_folder import RunFolder

JOBS: Registry[float | None] = Registry("job", runtime=["config", "folder"])
"""Builders do the work and return the final mIoU for sweeps, or None; they may take `config` and `folder: Path`."""


@JOBS.register("train")
def train_job(*, config: Config, folder: Path) -> float:
    """Train every phase and print the results."""
    run = train(config, folder)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return run.results["miou"]["mean_last"]  # a sweep tells its runs in a line each, and then together
    print((run.folder.path / "results.txt").read_text())
    print(f"written to {run.folder.path}")
    return run.results["miou"]["mean_last"]


@JOBS.register("plan")
def plan_job(*, config: Config) -> None:
    """Print the phases that would run; write nothing."""
    parts = Assembly(config)
    print(plan_table(parts.plan, parts.split), end="")


@JOBS.register("check")
def check_job(*, config: Config, shown: int) -> None:
    """Read every image and mask, and print everything that is wrong or odd; write nothing.

    Raises:
        DataError: Training would stop at something.
    """
    check = check_data(Assembly(config))
    print(summary(check, shown), end="")
    if check.errors:
        count = len(check.errors)
        raise DataError(f"{count} {'fault' if count == 1 else 'faults'} would stop training; see the list above")


@JOBS.register("evaluate")
def evaluate_job(
    *,
    config: Config,
    checkpoint: str,
    protocols: str | list[str | dict[str, Any]] | None,
    flip: bool | None,
    scales: list[float] | None,
    absent: Absent | None,
) -> float:
    """Score the networks of a run, and their ensemble, on the validation images under one protocol or several."""
    if config["run_dir"] is None:
        raise ConfigError("job=evaluate needs the run's folder: python run.py job=evaluate run=RUN_DIR")
    if checkpoint not in ("last", "best"):
        raise ConfigError(f"job.checkpoint should be last or best, but is {checkpoint!r}")
    parts, folder = _stored(config["run_dir"], config)
    changes = {"flip": flip, "scales": scales, "absent": absent}
    changes = {key: value for key, value in changes.items() if value is not None}
    if protocols:
        entries = [protocols] if isinstance(protocols, str) else protocols
        specs = dict(_protocol(entry, changes) for entry in entries)
    else:
        one = config.get("evaluation") or parts.config["evaluation"]
        specs = {title_of(one["name"], changes): one | changes}
    evaluations = {title: build_evaluation(spec, title) for title, spec in specs.items()}

    progress = Progress([], parts.run.progress)
    executor = Executor(parts, folder, progress)
    try:
        scores = {title: executor.scores(of, checkpoint, f"scoring {title}") for title, of in evaluations.items()}
    finally:
        progress.close()
    classes = parts.dataset.classes
    *_, whose = next(iter(scores.values()))
    print(protocols_table(scores), f"IoU of {whose}", sep="\n\n")
    print(scores_table({title: of[whose] for title, of in scores.items()}, classes))
    record = {
        "checkpoint": checkpoint,
        "protocols": {
            title: {
                "evaluation": specs[title],
                "miou": {name: score.miou for name, score in of.items()},
                "accuracy": {name: score.accuracy for name, score in of.items()},
                "iou": {name: dict(zip(classes, score.iou, strict=True)) for name, score in of.items()},
            }
            for title, of in scores.items()
        },
        "environment": describe_environment(parts.device),
    }
    parts.processes.first_says(lambda: write_json(folder.path / f"evaluation-{checkpoint}.json", record))
    return next(iter(scores.values()))[whose].miou


def _protocol(entry: str | dict[str, Any], changes: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Title and full specification of an entry of `job.protocols`.

    Args:
        entry: A name of conf/evaluation, or a mapping with such a `name` and what is to differ from its file.
        changes: What is to differ for every entry that does not say otherwise.
    """
    differing = changes | ({"name": entry} if isinstance(entry, str) else entry)
    name = differing.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"job.protocols: {entry!r} should be a name, or a mapping with name: and what is to differ")
    # A protocol that the user registered has no file: only what every protocol shares is taken from one.
    has_file = (config_folder() / "evaluation" / f"{name}.yaml").is_file() or name not in PROTOCOLS.names()
    settings = settle(compose([f"evaluation={name}"] if has_file else []))["evaluation"]
    return title_of(name, differing), settings | {"name": name} | differing


@JOBS.register("benchmark")
def benchmark_job(
    *, config: Config, steps: int, seconds: float, batches: list[int], output: str | None, network: str | None
) -> float | None:
    """Measure the recipe's parts on this machine, and print what the whole plan would take."""
    if steps < 1 or seconds <= 0 or any(images < 1 for images in batches):
        raise ConfigError(
            "job.steps should be at least 1, job.seconds above 0 and job.batches a list of whole numbers above 0, but"
            f" they are {steps}, {seconds} and {batches}"
        )
    parts = Assembly(config)
    progress = Progress([], "off" if parts.run.progress == "off" else "lines")
    cost = measure_cost(parts, network=network, steps=steps, seconds=seconds, batches=batches, tell=progress.say)
    facts, precision = describe_environment(parts.device), str(parts.precision).removeprefix("torch.")
    cpu = f"{facts['processor']}, threads: {facts['threads']}"
    device = facts["device"] if parts.device.type == "cuda" else cpu
    print(cost_page(cost, f"{device}; {precision}"), end="")
    if output is not None:
        write_json(Path(output), cost.to_json() | {"precision": precision, "environment": facts})
    return cost.seconds


@JOBS.register("report")
def report_job(
    *, config: Config, runs: str | None, over: list[str], baselines: list[str], beside: list[str], out: str | None
) -> None:
    """Write the report of a run, or that of all runs below a folder, whose tables are also printed."""
    run, target = config["run_dir"], None if out is None else Path(out)
    if (runs is None) == (run is None):
        raise ConfigError("job=report needs run=RUN_DIR, for one run, or runs=DIR, for all runs below a folder")
    if runs is not None:
        text, page = write_sweep_report(Path(runs), over, baselines, target)
        print(text)
    else:
        own, *others = (_stored(folder, config) for folder in [run, *beside])
        page = write_run_report(*own, others, target)
    print(f"written to {page} and {page.parent / 'report'}")


def _stored(path: str, config: Config) -> tuple[Assembly, RunFolder]:
    """The parts of an earlier run, on the machine as it is used now."""
    folder = RunFolder.existing(path)
    stored = folder.read_config() | {"run": config["run"]}
    import_modules(stored["imports"])
    return Assembly(stored, folder.read_split()), folder
