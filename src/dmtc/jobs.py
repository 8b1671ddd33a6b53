"""What `python run.py job=...` can do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from dmtc.checking import advise, check_data, summary
from dmtc.config import Config, compose, settle
from dmtc.config_files import config_folder
from dmtc.cost import measure_cost
from dmtc.engine.assembly import Assembly
from dmtc.engine.context import RunContext
from dmtc.engine.scoring import score_last
from dmtc.environment import describe_environment
from dmtc.errors import ConfigError, DataError
from dmtc.evaluation import PROTOCOLS, Absent, build_evaluation, title_of
from dmtc.export import ExportOptions, export_run
from dmtc.files import read_regular, write_json
from dmtc.launch import train
from dmtc.moved import places_among
from dmtc.ownership import require_own_file
from dmtc.prediction import Asking, Outputs, predict_run
from dmtc.prediction import summary as predicted_text
from dmtc.prediction.outputs import Existing
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
from dmtc.runs import Run
from dmtc.scored_data import data_to_score

JOBS: Registry[float | None] = Registry("job", runtime=["config", "folder", "given"])
"""Builders do the work and return the final mIoU for sweeps, or None. They may take `config`, `folder: Path` and
`given`, the dotted names of what was asked for on the command line."""


@JOBS.register("train")
def train_job(*, config: Config, folder: Path) -> float:
    """Train every phase and print the results."""
    run = train(config, folder)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return run.results["miou"]["mean_last"]  # a sweep tells its runs in a line each, and then together
    print(read_regular(run.folder.path / "results.txt").decode())
    print(f"written to {run.folder.path}")
    return run.results["miou"]["mean_last"]


@JOBS.register("plan")
def plan_job(*, config: Config, given: Sequence[str] = ()) -> None:
    """Print the phases that would run; write nothing."""
    parts = _looked_at(config, given)
    print(plan_table(parts.plan, parts.split, parts.choices, parts.scored_line), end="")


@JOBS.register("check")
def check_job(*, config: Config, shown: int, advice: bool, given: Sequence[str] = ()) -> None:
    """Read every image and mask, and print everything that is wrong or odd, and what suits them; write nothing.

    Raises:
        DataError: Training would stop at something.
    """
    parts = _looked_at(config, given)
    check = check_data(parts)
    print(summary(check, shown), end="")
    if advice and (suggested := advise(parts, check)) is not None:
        print(f"\n{suggested}", end="")
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
    part: str,
    given: Sequence[str] = (),
) -> float:
    """Score the networks of a run, and their ensemble, under one protocol or several, on its own data or on others."""
    if checkpoint not in ("last", "best"):
        raise ConfigError(f"job.checkpoint should be last or best, but is {checkpoint!r}")
    folder = RunFolder.existing(_run_of(config, "evaluate"))
    data = data_to_score(folder, config, given, part)
    parts = data.parts
    changes = _given(flip=flip, scales=scales, absent=absent)
    if protocols:
        entries = [protocols] if isinstance(protocols, str) else protocols
        specs = dict(_protocol(entry, changes) for entry in entries)
    else:
        one = config.get("evaluation") or parts.config["evaluation"]
        specs = {title_of(one["name"], changes): one | changes}
    evaluations = {title: build_evaluation(spec, title) for title, spec in specs.items()}

    progress = Progress([], parts.run.progress)
    context = RunContext(parts, folder, progress)
    try:
        scores = {
            title: score_last(context, of, checkpoint, f"scoring {title}", data.ids)
            for title, of in evaluations.items()
        }
    finally:
        progress.close()
    classes = parts.dataset.classes
    *_, whose = next(iter(scores.values()))
    if data.place is not None or data.part != "val":
        print(data.text(), end="\n\n")
    print(protocols_table(scores), f"IoU of {whose}", sep="\n\n")
    print(scores_table({title: of[whose] for title, of in scores.items()}, classes))
    record = {
        "checkpoint": checkpoint,
        "dataset": {
            "name": parts.dataset.name,
            "place": data.place,
            "part": data.part,
            "images": len(data.ids),
        },
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
    parts.processes.first_says(lambda: write_json(folder.path / data.file_name(checkpoint), record))
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


@JOBS.register("predict")
def predict_job(
    *,
    config: Config,
    input: str | list[str] | None,
    output: str | None,
    networks: str | None,
    checkpoint: str,
    flip: bool | None,
    scales: list[float] | None,
    resize: float | None,
    write: list[str],
    opacity: float,
    layout: str | None,
    upright: bool,
    existing: Existing,
) -> None:
    """Predict pictures and videos, and write masks and what else is wanted.

    Raises:
        DataError: Some files could not be read. All others are done.
    """
    run = _run_of(config, "predict input=FOLDER output=DIR")
    if not input or not output:
        raise ConfigError("job=predict needs input= (a file, a folder, a pattern or a video) and output=DIR")
    parts, folder = _stored(run, config)
    inputs = [input] if isinstance(input, str) else input
    outputs = Outputs(
        folder=Path(output), task=parts.task, kinds=write, opacity=opacity, layout=layout, existing=existing
    )
    evaluation = (config.get("evaluation") or parts.config["evaluation"]) | _given(flip=flip, scales=scales)
    asking = Asking(networks=networks, checkpoint=checkpoint, evaluation=evaluation, resize=resize, upright=upright)
    done = predict_run(parts, folder, inputs, outputs, asking)
    if parts.processes.is_first:
        print(predicted_text(done, outputs.folder))
    if done.skipped:
        raise DataError(
            f"{len(done.skipped)} of {len(done.skipped) + done.images + done.videos} files could not be read; see above"
        )


@JOBS.register("export")
def export_job(
    *,
    config: Config,
    format: str | None,
    output: str | None,
    networks: str | None,
    checkpoint: str,
    probabilities: bool,
    size: list[int] | None,
    opset: int,
    license: str | None,
    push: str | None,
    private: bool,
) -> None:
    """Write the networks of a run as a file that works without it, hold it against them, and describe it."""
    run = Run.load(_run_of(config, "export format=onnx"))
    options = ExportOptions(
        networks=networks,
        checkpoint=checkpoint,
        probabilities=probabilities,
        size=size,
        opset=opset,
        license=license,
    )
    exported = export_run(run, format, None if output is None else Path(output), options, push=push, private=private)
    print(exported.text())


@JOBS.register("benchmark")
def benchmark_job(
    *,
    config: Config,
    steps: int,
    seconds: float,
    batches: list[int],
    output: str | None,
    network: str | None,
    given: Sequence[str] = (),
) -> float | None:
    """Measure the recipe's parts on this machine, and print what the whole plan would take."""
    if steps < 1 or seconds <= 0 or any(images < 1 for images in batches):
        raise ConfigError(
            "job.steps should be at least 1, job.seconds above 0 and job.batches a list of whole numbers above 0, but"
            f" they are {steps}, {seconds} and {batches}"
        )
    if output is not None:
        require_own_file(Path(output), "job.output", {"precision", "environment"})
    parts = _looked_at(config, given)
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


def _looked_at(config: Config, given: Sequence[str]) -> Assembly:
    """The parts of a training that is not begun: nothing is written, the pictures of the built-in data set neither.

    Raises:
        ConfigError: A folder is named that is not there, for no data set in particular.
    """
    root = config["dataset"].get("root")
    is_unsaid = "dataset.root" in given and not {"dataset", "experiment"} & set(given)
    if root is not None and is_unsaid and not Path(root).expanduser().exists():
        raise ConfigError(
            f"there is no folder {root}; with pictures of your own, say experiment=your_data dataset.root=DIR (or"
            " dataset=folder): without, dataset.root is where the built-in data set keeps its pictures"
        )
    return Assembly(config, keeps=False)


def _run_of(config: Config, command: str) -> str:
    """The folder of the run that a job is about."""
    if config["run_dir"] is None:
        name = command.partition(" ")[0]
        raise ConfigError(
            f"job={name} needs the run's folder: python run.py job={name} run=RUN_DIR{command.removeprefix(name)}"
        )
    return config["run_dir"]


def _given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def _stored(path: str, config: Config) -> tuple[Assembly, RunFolder]:
    """The parts of an earlier run, on the machine as it is used now, with its data where the command says."""
    folder = RunFolder.existing(path)
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    return Assembly.of(folder, config["run"], places_among(overrides, config)), folder
