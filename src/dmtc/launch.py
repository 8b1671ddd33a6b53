"""Carrying runs out: from a config, or from the folder of one that was stopped."""

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmtc.allocator import keep_freed_memory
from dmtc.changes import refuse_changes
from dmtc.config import settle
from dmtc.engine.assembly import Assembly
from dmtc.engine.execution import Executor
from dmtc.environment import describe_environment
from dmtc.failures import explained
from dmtc.interruption import Interruption
from dmtc.progress import Progress
from dmtc.report import gather_results, results_table
from dmtc.run_folder import RunFolder
from dmtc.runs import Run
from dmtc.tracking import LOGGERS, Metrics, Tracker


def train(cfg: DictConfig | Mapping[str, Any], folder: str | Path | None = None) -> Run:
    """Train every phase of a config's plan and report.

    Args:
        cfg: From `dmtc.compose`.
        folder: Run folder; by default a new one under outputs/. What an earlier run with the same settings has done
            there is not done again.

    Returns:
        The finished run.

    Raises:
        ConfigError: A fault in the config, all in one message, before anything is written; or the folder is of a run
            with other settings.
        DataError: A fault in the images, masks or lists.
        TrainingError: A loss or gradient became infinite or NaN, or the machine failed: memory, disk, a loader process.
            The message says what to do; what was saved is kept.
        RunStopped: SIGINT, SIGTERM or SIGUSR1 came; everything is saved. A `KeyboardInterrupt`.
    """
    config = settle(cfg)
    if folder is None:
        folder = Path("outputs") / f"{config['tag']}-{datetime.datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return _carry_out(Assembly(config), RunFolder(folder))


def resume(
    folder: str | Path, run_settings: Mapping[str, Any] | None = None, logger: Mapping[str, Any] | None = None
) -> Run:
    """Go on where a run stopped, however it did; on the CPU the results are those of a run that never stopped.

    Args:
        folder: Of the run.
        run_settings: Values of the `run` group that may differ from before, such as `device` or `workers`.
        logger: The `logger` group, if it is to differ.

    Raises:
        ConfigError: A setting that may change results differs.
        DataError: The folder is no run folder.
        TrainingError: As in `train`.
        RunStopped: As in `train`.
    """
    run_folder = RunFolder.existing(folder)
    config = run_folder.read_config()
    config["run"] = config["run"] | dict(run_settings or {})
    if logger is not None:
        config["logger"] = dict(logger)
    return _carry_out(Assembly(settle(config), run_folder.read_split() if run_folder.has_split() else None), run_folder)


def _carry_out(parts: Assembly, folder: RunFolder) -> Run:
    if folder.config_path.is_file():
        refuse_changes(folder.read_config(), parts.config, f"{folder.path} holds a run with other settings")
    plan = parts.plan  # finds every fault of data set, split and schedule before anything is written
    forecast = parts.cache_forecast()
    for phase in plan:
        if phase.init_from is None and folder.read_phase(phase.name) is None:
            parts.try_starting_weights(phase.trainee)
    if parts.device.type == "cpu":
        keep_freed_memory()
    progress = Progress(plan, parts.run.progress)
    try:
        if forecast:
            progress.say(forecast)
        with _told(folder):
            environment = describe_environment(parts.device)
            folder.tidy()
            folder.write_config(parts.config)
            folder.write_environment(environment)
            folder.write_split(parts.split)
            folder.write_plan(plan)
            metrics = Metrics(folder.metrics_path, _loggers(parts, folder), progress.warn)
        try:
            run, results = _results(parts, folder, progress, metrics, environment)
        except BaseException:
            metrics.close()
            raise
        metrics.finish(results)
    finally:
        progress.close()
    return run


def _results(
    parts: Assembly, folder: RunFolder, progress: Progress, metrics: Metrics, environment: dict[str, Any]
) -> tuple[Run, dict[str, Any]]:
    """Carry the plan out and write what came of it; signals are heeded meanwhile."""
    interruption = Interruption()
    executor = Executor(parts, folder, progress, metrics, interruption)
    with _told(folder, executor), interruption.heeded():
        executor.execute()
        records = [record for phase in parts.plan if (record := folder.read_phase(phase.name)) is not None]
        *_, final = executor.scores(parts.evaluation).values()
        results = gather_results(parts, records, final, environment)
        run = Run(folder, parts)
        if parts.run.pictures:
            run.draw(parts.run.pictures)
        folder.write_results(results, results_table(results))
    return run, results


def _loggers(parts: Assembly, folder: RunFolder) -> dict[str, Callable[[], Tracker]]:
    return {
        name: partial(LOGGERS.build, spec, f"logger.{name}", folder=folder.path, config=parts.config)
        for name, spec in (parts.config["logger"] or {}).items()
    }


@contextmanager
def _told(folder: RunFolder, executor: Executor | None = None) -> Iterator[None]:
    """Tell what the machine does to the run in one line each."""
    try:
        yield
    except Exception as error:
        doing, memory = (executor.doing, executor.memory) if executor else ("preparing", "")
        told = explained(error, folder.path, doing, memory)
        if told is None:
            raise
        raise told from error
