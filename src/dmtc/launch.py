"""Carrying runs out: from a config, or from the folder of one that was stopped."""

import datetime
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmtc import run_beginning
from dmtc.allocator import keep_freed_memory
from dmtc.changes import refuse_changes
from dmtc.config import check, settle, settle_stored
from dmtc.data.record import DataRecord, record_data
from dmtc.engine.assembly import Assembly
from dmtc.engine.context import Activity, RunContext
from dmtc.engine.inputs import refuse_among_inputs
from dmtc.engine.runner import Runner
from dmtc.engine.scoring import score_last
from dmtc.environment import describe_environment
from dmtc.errors import ConfigError, DataError
from dmtc.failures import explained
from dmtc.interruption import Interruption
from dmtc.moved import relocated
from dmtc.origin import fingerprint, require_one_run, require_own_settings, write_settings
from dmtc.ownership import require_folder
from dmtc.progress import Progress
from dmtc.report import gather_results, gather_test, results_table, write_run_report
from dmtc.run_folder import RunFolder
from dmtc.runs import Run
from dmtc.same_data import require_same_data
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
            with other settings, or another process is writing there.
        DataError: A fault in the images, masks or lists.
        TrainingError: A loss or gradient became infinite or NaN, or the machine failed: memory, disk, a loader process.
            The message says what to do; what was saved is kept.
        RunStopped: SIGINT, SIGTERM or SIGUSR1 came; everything is saved. A `KeyboardInterrupt`.

    Examples:
        >>> import dmtc
        >>> few = ["dataset.train_images=8", "dataset.val_images=2", "run.progress=off", "run.report=false"]
        >>> run = dmtc.train(dmtc.compose(["loss=supervised", "schedule=smoke", *few]), "outputs/smoke")
        >>> run.networks
        ['a']
    """
    config = settle(cfg)
    parts = Assembly(config)
    if folder is None:
        now = parts.processes.first_says(datetime.datetime.now)
        folder = Path("outputs") / f"{config['tag']}-{now:%Y-%m-%d_%H-%M-%S-%f}"
    return _carry_out(parts, RunFolder(folder))


def resume(
    folder: str | Path,
    run_settings: Mapping[str, Any] | None = None,
    logger: Mapping[str, Any] | None = None,
    places: Mapping[str, Any] | None = None,
) -> Run:
    """Go on where a run stopped, however it did; on the CPU the results are those of a run that never stopped.

    Args:
        folder: Of the run.
        run_settings: Values of the `run` group that may differ from before, such as `device` or `workers`.
        logger: The `logger` group, if it is to differ.
        places: Where data, lists or starting weights lie now, by dotted key, such as `{"dataset.root": "/mnt/data"}`.

    Raises:
        ConfigError: A setting that may change results differs, or another process is writing there.
        DataError: The folder is no run folder, or the data are not those that the run began with.
        TrainingError: As in `train`.
        RunStopped: As in `train`.

    Examples:
        A run that is finished has nothing left to do:

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
    return _carry_out(Assembly(config, run_folder.read_split() if run_folder.has_split() else None), run_folder)


def _carry_out(parts: Assembly, folder: RunFolder) -> Run:
    processes = parts.processes
    processes.first_says(lambda: run_beginning.refuse_foreign(folder))
    plan = parts.plan  # finds every fault of data set, split and schedule before anything is written
    _refuse_among_inputs(parts, folder)
    choices = parts.choices
    parts.settle_by_data()
    parts.refuse_processes()
    forecast = parts.cache_forecast()
    if parts.device.type == "cpu":
        keep_freed_memory()
    with ExitStack() as at_the_end:
        environment = describe_environment(parts.device)

        def prepare() -> list[str]:
            starting = {
                phase.trainee: parts.try_starting_weights(phase.trainee).sha256
                for phase in plan
                if phase.init_from is None and folder.read_phase(phase.name) is None
            }
            goes_on = folder.config_path.is_file()
            try:
                at_the_end.enter_context(folder.locked())
            except OSError:  # no other one: that another process is writing there leaves its files alone
                if not goes_on:
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
            told = [*_other_device(folder, environment), *_unrecorded(folder)]
            data = _begun(parts, folder)
            folder.tidy()
            folder.write_config(parts.config)
            write_settings(folder, parts.config, starting)
            folder.write_environment(environment)
            folder.write_split(parts.split, data)
            folder.write_task(parts.dataset.task)
            folder.write_plan(plan)
            return told

        again = None if folder.config_path.is_file() else "the same command"
        with _told(folder, again=again):
            before = processes.first_says(prepare)
            progress = Progress(plan, parts.run.progress, silent=not processes.is_first)
            at_the_end.callback(progress.close)
            for line in [*before, *choices, *([forecast] if forecast else [])]:
                progress.say(line)
            metrics = _metrics(parts, folder, progress, environment)
        try:
            run, results = _results(parts, folder, progress, metrics, environment)
        except BaseException:
            metrics.close()
            raise
        metrics.finish(results)
    return run


def _other_device(folder: RunFolder, environment: Mapping[str, Any]) -> list[str]:
    """A line if a run goes on on another kind of device than before."""
    earlier = folder.read_environment().get("device")
    if earlier is None or earlier == environment["device"] or not any(folder.path.glob("phases/*/phase.json")):
        return []
    return [
        f"going on on {environment['device']}, where it was {earlier} before: the results are those of neither alone, "
        "by rounding"
    ]


def _unrecorded(folder: RunFolder) -> list[str]:
    """A line if a run is from before it was recorded what it was made from."""
    if not folder.config_path.is_file() or folder.read_settings() is not None:
        return []
    return [
        f"{folder.path} is from before settings and files were recorded: images are compared by their names alone, and"
        " settings not at all"
    ]


def _begun(parts: Assembly, folder: RunFolder) -> DataRecord:
    """See that what is in a folder was made by this run, from these data.

    Returns:
        What the files of the data hold.

    Raises:
        ConfigError: There is a run with other settings, or that it holds was made with others.
        DataError: Its data hold something else now, or its labelled images are others.
    """
    settings = fingerprint(parts.config)
    if folder.config_path.is_file():
        refuse_changes(folder.read_config(), parts.config, f"{folder.path} holds a run with other settings")
        settings = require_own_settings(folder, parts.config)
    if folder.has_plan() and folder.read_plan() != parts.plan:
        raise ConfigError(f"{folder.path}: plan.json has other phases than its config.yaml leads to; put it back")
    require_one_run(folder, parts.plan, parts.split, settings)
    if not folder.has_split():
        return record_data(parts.dataset, parts.split.labelled)
    require_same_data(folder, parts.dataset)
    if folder.read_split() != parts.split:
        raise DataError(f"{folder.path} holds a run with other labelled images: choose another folder")
    # Of a run from before this was recorded, the data that it goes on with count.
    return folder.read_data() or record_data(parts.dataset, parts.split.labelled)


def _refuse_among_inputs(parts: Assembly, folder: RunFolder) -> None:
    written = {"hydra.run.dir": folder.path, "run.image_cache": parts.run.image_cache}
    written["dataset.cache"] = parts.config["dataset"].get("cache")
    for option, path in written.items():
        if path is not None:
            require_folder(Path(path).expanduser(), option)
            refuse_among_inputs(parts, Path(path).expanduser(), option)


def _results(
    parts: Assembly, folder: RunFolder, progress: Progress, metrics: Metrics, environment: dict[str, Any]
) -> tuple[Run, dict[str, Any]]:
    """Carry the plan out and write what came of it; signals are heeded meanwhile."""
    processes = parts.processes
    interruption = Interruption(silent=not processes.is_first)
    context = RunContext(parts, folder, progress, interruption)

    def write() -> dict[str, Any]:
        records = [record for phase in parts.plan if (record := folder.read_phase(phase.name)) is not None]
        results = gather_results(parts, records, final, environment, test)
        folder.write_results(results, results_table(results))
        return results

    with _told(folder, context.activity), interruption.heeded():
        earlier = processes.first_says(lambda: _earlier_test(parts, folder))
        Runner(context, metrics).run()
        *_, final = score_last(context, parts.evaluation).values()
        test = _test_results(context) if earlier is None else earlier
        results = processes.first_says(write)
        if parts.run.report:
            processes.first_says(lambda: _report(parts, folder, progress, interruption))
    return Run(folder, parts), results


def _earlier_test(parts: Assembly, folder: RunFolder) -> dict[str, Any] | None:
    """What a run that is finished has found on its test part, which is not asked again."""
    if any(folder.read_phase(phase.name) is None for phase in parts.plan):
        return None
    return (folder.read_results() or {}).get("test")


def _test_results(context: RunContext) -> dict[str, Any] | None:
    """Score the test part with the last weights; None if there is none, or it is to stay closed."""
    parts = context.parts
    if not parts.dataset.test or not parts.run.test:
        return None
    try:
        scores = score_last(context, parts.evaluation, what="scoring the test part", ids=parts.dataset.test)
    except DataError as error:
        raise DataError(
            f"{error} (all is trained, but the test part cannot be scored: mend it and go on with python run.py"
            f" resume={context.folder.path}, or leave it out with run.test=false)"
        ) from error
    return gather_test(parts, scores)


def _report(parts: Assembly, folder: RunFolder, progress: Progress, interruption: Interruption) -> None:
    """Draw the results. They are safe: whatever goes wrong here is only told."""
    try:
        progress.say(f"report: {write_run_report(parts, folder, interruption=interruption)}")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        progress.warn(f"no report ({reason}); try again with: python run.py job=report run={folder.path}")


def _metrics(parts: Assembly, folder: RunFolder, progress: Progress, environment: dict[str, Any]) -> Metrics:
    if not parts.processes.is_first:
        return Metrics(Path(os.devnull), {}, progress.warn)
    given = {"folder": folder.path, "config": parts.config, "environment": environment, "dataset": parts.dataset}
    loggers: dict[str, Callable[[], Tracker]] = {
        name: partial(LOGGERS.build, spec, f"logger.{name}", **given)
        for name, spec in (parts.config["logger"] or {}).items()
    }
    return Metrics(folder.metrics_path, loggers, progress.warn)


@contextmanager
def _told(folder: RunFolder, activity: Activity | None = None, again: str | None = None) -> Iterator[None]:
    """Tell what the machine does to the run in one line each."""
    try:
        yield
    except Exception as error:
        activity = activity or Activity()
        told = explained(error, folder.path, activity.doing, activity.memory, again)
        if told is None:
            raise
        raise told from error
