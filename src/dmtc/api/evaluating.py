"""Scoring the networks of a run with any protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.api.scored_data import ScoredData, data_to_score
from dmtc.config.compose import compose
from dmtc.config.folder import config_folder
from dmtc.config.job_options import given_keys
from dmtc.core.errors import ConfigError
from dmtc.data.task import Task
from dmtc.engine.checks import settle
from dmtc.engine.context import RunContext
from dmtc.engine.scoring import score_last
from dmtc.evaluation import PROTOCOLS, Evaluation, Scores, build_evaluation, title_of
from dmtc.run.folder import RunFolder
from dmtc.tracking.progress import Progress


def require_checkpoint(checkpoint: str, where: str) -> None:
    """Refuse names of weights that no run has.

    Raises:
        ConfigError: It is neither "last" nor "best".
    """
    if checkpoint not in ("last", "best"):
        raise ConfigError(f"{where} should be last or best, but is {checkpoint!r}")


def protocol_of(entry: str | Mapping[str, Any], changes: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Title and full specification of a protocol.

    Args:
        entry: A name in conf/evaluation, or a mapping with such a `name` and changes to its file.
        changes: Changes to the file; those in the entry itself win.
        where: What the entry belongs to, for messages.

    Raises:
        ConfigError: The entry has no name, or there is no such protocol.
    """
    differing = dict(changes) | ({"name": entry} if isinstance(entry, str) else dict(entry))
    name = differing.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: {entry!r} should be a name, or a mapping with name: and what to change")
    # A user-registered protocol has no file; the settings that all protocols share come from the default.
    has_file = (config_folder() / "evaluation" / f"{name}.yaml").is_file() or name not in PROTOCOLS.names()
    settings = settle(compose([f"evaluation={name}"] if has_file else []))["evaluation"]
    return title_of(name, differing), settings | {"name": name} | differing


def with_metric_options(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification with the options of metrics, which an older run lacks."""
    if "metric_options" in spec:
        return dict(spec)
    return {**spec, "metric_options": settle(compose([]))["evaluation"]["metric_options"]}


def checked(spec: Mapping[str, Any], where: str, task: Task) -> Evaluation:
    """The protocol of a specification, whose metrics fit the classes.

    Raises:
        ConfigError: An option is out of range, or a metric does not fit.
    """
    evaluation = build_evaluation(spec, where)
    evaluation.check_metrics(task.classes)
    return evaluation


def score_parts(
    data: Sequence[ScoredData], folder: RunFolder, evaluations: Mapping[str, Evaluation], checkpoint: str
) -> dict[str, dict[str, dict[str, Scores]]]:
    """Scores by part, protocol and network; an ensemble comes last.

    Args:
        data: The parts of one data set to score.
        folder: The run's folder.
        evaluations: The protocols by title.
        checkpoint: "last" or "best" weights.
    """
    components = data[0].components
    progress = Progress([], components.run.progress)
    context = RunContext(components, folder, progress)
    try:
        return {
            of_part.part: {
                title: score_last(context, of, checkpoint, f"scoring {title}", of_part.ids)
                for title, of in evaluations.items()
            }
            for of_part in data
        }
    finally:
        progress.close()


def evaluate_run(
    folder: RunFolder,
    machine: Mapping[str, Any],
    evaluation: str | Mapping[str, Any] | None,
    part: str,
    options: Sequence[str],
    checkpoint: str,
) -> dict[str, Scores]:
    """What `dmtc.Run.evaluate` returns.

    Args:
        folder: The run's folder.
        machine: The settings of the group `run`.
        evaluation: A protocol, see `protocol_of`; None for the run's own.
        part: One of the `PARTS` of `scored_data`.
        options: Overrides that name another data set.
        checkpoint: "last" or "best" weights.
    """
    require_checkpoint(checkpoint, "checkpoint")
    config = settle(compose(options)) | {"run": dict(machine)}
    data = data_to_score(folder, config, given_keys(options), [part])
    components = data[0].components
    own = components.config["evaluation"]
    spec = own if evaluation is None else protocol_of(evaluation, {}, "evaluation")[1]
    built = checked(with_metric_options(spec), "evaluation", components.task)
    [of_part] = score_parts(data, folder, {"the run": built}, checkpoint).values()
    [scores] = of_part.values()
    *networks, last = scores
    return {**{name: scores[name] for name in networks}, "ensemble" if networks else last: scores[last]}
