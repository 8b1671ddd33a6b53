"""Runs training: from a config, or from the folder of a stopped run."""

import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dmtc.api.continuing import keep_threads, other_device, require_same_run
from dmtc.api.runs import Run
from dmtc.config.completing import whole
from dmtc.core.command import command
from dmtc.core.errors import DataError
from dmtc.core.ownership import require_folder
from dmtc.engine.checks import check, settle, settle_stored
from dmtc.engine.components import Components
from dmtc.engine.context import Activity, RunContext
from dmtc.engine.inputs import refuse_among_inputs
from dmtc.engine.networks import try_starting_weights
from dmtc.engine.parallel import refuse_processes
from dmtc.engine.runner import Runner
from dmtc.engine.scoring import score_last
from dmtc.losses.weighing_terms import class_weights_of, weights_lines
from dmtc.machine.allocator import keep_freed_memory
from dmtc.machine.environment import describe_environment
from dmtc.machine.failures import explained
from dmtc.machine.interruption import Interruption
from dmtc.report import confusion_picture, gather_results, gather_test, opening_lines, results_table, write_run_report
from dmtc.report.panels import Panels
from dmtc.run import beginning as run_beginning
from dmtc.run.folder import RunFolder
from dmtc.run.identity import run_id
from dmtc.run.moved import relocated
from dmtc.run.origin import write_settings
from dmtc.schedule.phase import phases_before
from dmtc.tracking import LOGGERS, RunLog, Tracker
from dmtc.tracking.progress import Progress


def train(cfg: DictConfig | Mapping[str, Any] | Sequence[str] = (), folder: str | Path | None = None) -> Run:
    """Train every phase of a config's plan and write the report.

    Args:
        cfg: What you would type after `dmtc`, such as `["method=dmt", "split.ratio=1/8"]`; a config from
            `dmtc.compose`; or settings in a dictionary, such as `{"method": "dmt", "split": {"ratio": "1/8"}}`. What
            these leave out is filled in.
        folder: Run folder; by default a new one under outputs/. Phases finished there by an earlier run with the same
            settings are not repeated.

    Returns:
        The finished run.

    Raises:
        ConfigError: Faults in the config, all in one message, before anything is written; or the folder belongs to a
            run with other settings, or another process is writing there.
        DataError: A fault in the images, masks or lists.
        TrainingError: A loss or gradient became infinite or NaN, or the machine failed: memory, disk, a loader process.
            The message says what to do; what was saved is kept.
        RunStopped: SIGINT, SIGTERM or SIGUSR1 arrived; everything is saved. A `KeyboardInterrupt`.

    Examples:
        >>> import dmtc
        >>> few = ["dataset.train_images=8", "dataset.val_images=2", "run.progress=off", "run.report=false"]
        >>> run = dmtc.train(["method=supervised", "schedule=smoke", *few], "outputs/smoke")
        >>> run.networks
        ['a']
    """
    config = settle(whole(cfg))
    components = Components(config)
    if folder is None:
        now = components.processes.broadcast(datetime.datetime.now)
        folder = Path("outputs") / f"{config['tag']}-{now:%Y-%m-%d_%H-%M-%S-%f}"
    return _carry_out(components, RunFolder(folder))


def resume(
    folder: str | Path,
    run_settings: Mapping[str, Any] | None = None,
    logger: Mapping[str, Any] | None = None,
    places: Mapping[str, Any] | None = None,
) -> Run:
    """Resume a run however it stopped; on the CPU the results equal those of an uninterrupted run.

    Args:
        folder: The run's folder.
        run_settings: Changed values of the `run` group that cannot change results, such as `device` or `workers`.
        logger: A new `logger` group.
        places: Where data, lists or starting weights are now, by dotted key, such as `{"dataset.root": "/mnt/data"}`.

    Raises:
        ConfigError: A setting that may change results differs, or another process is writing there.
        DataError: The path is not a run folder, or the data has changed since the run began.
        TrainingError: See `train`.
        RunStopped: See `train`.

    Examples:
        A finished run has nothing left to do:

        >>> import dmtc
        >>> dmtc.resume("outputs/first").results["method"]
        'dmtc'
    """
    run_folder = RunFolder.existing(folder)
    config = settle_stored(run_folder.read_config(), run_folder.config_path)
    config = relocated(config, places or {})
    config["run"] = config["run"] | dict(run_settings or {})
    if logger is not None:
        config["logger"] = dict(logger)
    check(config)
    split = run_folder.read_split() if run_folder.has_split() else None
    return _carry_out(Components(config, split, class_counts=run_folder.read_class_counts()), run_folder)


def _carry_out(components: Components, folder: RunFolder) -> Run:
    processes = components.processes
    processes.broadcast(lambda: run_beginning.refuse_foreign(folder))
    _ = components.device  # a machine without it is refused before any data are made
    plan = components.plan  # finds every fault of data set, split and schedule before anything is written
    _ = components.evaluation  # and of the metrics
    _refuse_among_inputs(components, folder)
    choices = components.choices
    components.settle_by_data()
    refuse_processes(components)
    weights = class_weights_of(components.terms, components.dataset.classes)  # all processes count pixels together
    _ = components.context  # likewise
    forecast = _cache_forecast(components)
    if components.device.type == "cpu":
        keep_freed_memory()
    with ExitStack() as at_the_end:
        at_the_end.callback(torch.set_num_threads, torch.get_num_threads())
        threads = keep_threads(folder, components.device)
        environment = describe_environment(components.device)

        def prepare() -> list[str]:
            starting = {
                phase.trainee: try_starting_weights(components, phase.trainee).sha256
                for phase in plan
                if phase.init_from is None and folder.read_phase(phase.name) is None
            }
            resumes = folder.config_path.is_file()
            try:
                at_the_end.enter_context(folder.locked())
            except OSError:  # not the ConfigError of a folder in use, whose files belong to another process
                if not resumes:
                    run_beginning.undo(folder)
                raise
            if folder.config_path.is_file():
                return write(starting)
            try:
                return write(starting)
            except BaseException:
                run_beginning.undo(folder)
                raise

        def write(starting: Mapping[str, str | None]) -> list[str]:
            remarks = [*threads, *other_device(folder, environment)]
            data = require_same_run(components, folder)
            folder.tidy()
            folder.write_config(components.config)
            write_settings(folder, components.config, starting)
            environment["run_id"] = run_id(folder)
            folder.write_environment(environment)
            folder.write_split(components.split, data, components.classes.counted)
            folder.write_task(components.dataset.task)
            folder.write_plan(plan)
            return remarks

        again = None if folder.config_path.is_file() else "the same command"
        with _machine_failures_explained(folder, again=again):
            before = processes.broadcast(prepare)
            progress = Progress(plan, components.run.progress, silent=not processes.is_first)
            at_the_end.callback(progress.close)
            opening = opening_lines(components, folder.path, environment)
            for line in [*opening, *before, *choices, *weights_lines(weights), *([forecast] if forecast else [])]:
                progress.say(line)
            metrics = _metrics(components, folder, progress, environment)
        try:
            run, results = _results(components, folder, progress, metrics, environment)
        except BaseException:
            metrics.close()
            raise
        if metrics.pictures and (picture := confusion_picture(results)) is not None:
            metrics.picture("confusion", picture)
        metrics.finish(results)
    return run


def _cache_forecast(components: Components) -> str | None:
    """How much the images of this run take in the cache, if there is one; a `ConfigError` if that is too much."""
    if components.image_cache is None:
        return None
    split, dataset = components.split, components.dataset
    unlabelled = split.unlabelled if any(phase.learns_from_unlabelled for phase in components.plan) else ()
    test = dataset.test if components.run.test else ()
    return components.image_cache.forecast(dataset.images, sorted({*dataset.val, *test, *split.labelled, *unlabelled}))


def _refuse_among_inputs(components: Components, folder: RunFolder) -> None:
    written = {"hydra.run.dir": folder.path, "run.image_cache": components.run.image_cache}
    written["dataset.cache"] = components.config["dataset"].get("cache")
    for option, path in written.items():
        if path is not None:
            require_folder(Path(path).expanduser(), option)
            refuse_among_inputs(components, Path(path).expanduser(), option)


def _results(
    components: Components, folder: RunFolder, progress: Progress, metrics: RunLog, environment: dict[str, Any]
) -> tuple[Run, dict[str, Any]]:
    """Run the plan and write the results, handling signals meanwhile."""
    processes = components.processes
    interruption = Interruption(silent=not processes.is_first)
    context = RunContext(components, folder, progress, interruption)

    def write() -> dict[str, Any]:
        records = [record for phase in components.plan if (record := folder.read_phase(phase.name)) is not None]
        results = gather_results(components, records, final, environment, test)
        folder.write_results(results, results_table(results))
        return results

    with _machine_failures_explained(folder, context.activity), interruption.heeded():
        earlier = processes.broadcast(lambda: _earlier_test(components, folder))
        Runner(context, metrics, Panels(context)).run()
        *_, final = score_last(context, components.evaluation).values()
        if len(components.networks) > 1:
            metrics.ensemble(max(len(phases_before(phase, components.plan)) for phase in components.plan), final)
        test = _test_results(context) if earlier is None else earlier
        results = processes.broadcast(write)
        if components.run.report:
            processes.broadcast(lambda: _report(components, folder, progress, interruption))
    return Run(folder, components), results


def _earlier_test(components: Components, folder: RunFolder) -> dict[str, Any] | None:
    """The test results of a finished run, which does not score its test part again."""
    if any(folder.read_phase(phase.name) is None for phase in components.plan):
        return None
    return (folder.read_results() or {}).get("test")


def _test_results(context: RunContext) -> dict[str, Any] | None:
    """Score the test part with the last weights; None if there is none or `run.test` is off."""
    components = context.components
    if not components.dataset.test or not components.run.test:
        return None
    try:
        scores = score_last(context, components.evaluation, what="scoring the test part", ids=components.dataset.test)
    except DataError as error:
        raise DataError(
            f"{error} (training is done, but the test part cannot be scored: fix it and resume with"
            f" {context.folder.resume_command}, or skip it with run.test=false)"
        ) from error
    return gather_test(components, scores)


def _report(components: Components, folder: RunFolder, progress: Progress, interruption: Interruption) -> None:
    """Write the report. The results are already saved, so any failure here is only a warning."""
    try:
        progress.say(f"report: {write_run_report(components, folder, interruption=interruption)}")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        progress.warn(f"no report ({reason}); try again with: {command(f'job=report run={folder.path}')}")


def _metrics(components: Components, folder: RunFolder, progress: Progress, environment: dict[str, Any]) -> RunLog:
    if not components.processes.is_first:
        return RunLog(Path(os.devnull), {}, progress.warn)
    given = {
        "folder": folder.path,
        "config": components.config,
        "environment": environment,
        "dataset": components.dataset,
    }
    loggers: dict[str, Callable[[], Tracker]] = {
        name: partial(LOGGERS.build, spec, f"logger.{name}", **given)
        for name, spec in (components.config["logger"] or {}).items()
    }
    return RunLog(folder.metrics_path, loggers, progress.warn)


@contextmanager
def _machine_failures_explained(
    folder: RunFolder, activity: Activity | None = None, again: str | None = None
) -> Iterator[None]:
    """Turn failures of the machine into errors of one line."""
    try:
        yield
    except Exception as error:
        activity = activity or Activity()
        explanation = explained(error, folder.path, activity.doing, activity.memory, again)
        if explanation is None:
            raise
        raise explanation from error
