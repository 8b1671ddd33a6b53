"""`job=evaluate`: scores the networks of a run with any protocol, on its own or other data."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.api.evaluating import checked, protocol_of, require_checkpoint, score_parts, with_metric_options
from dmtc.api.scored_data import ScoredData, data_to_score
from dmtc.cli.jobs.common import given_only, run_of
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError
from dmtc.core.files import write_json
from dmtc.core.terminal import show
from dmtc.evaluation import Absent, Scores, title_of
from dmtc.machine.environment import describe_environment
from dmtc.report import confusion_of, metrics_table, protocols_table, scores_table
from dmtc.run.folder import RunFolder


@JOBS.register("evaluate")
def evaluate_job(
    *,
    config: Config,
    checkpoint: str,
    protocols: str | list[str | dict[str, Any]] | None,
    flip: bool | None,
    scales: list[float] | None,
    absent: Absent | None,
    metrics: list[str] | None,
    part: str,
    parts: list[str] | None,
    given: Sequence[str] = (),
) -> float:
    """Score the networks of a run and their ensemble with one or more protocols, on its own or other data."""
    require_checkpoint(checkpoint, "job.checkpoint")
    if parts is not None and (part != "auto" or not parts):
        raise ConfigError(f"job.parts={parts}: name one or more parts, instead of job.part={part}")
    folder = RunFolder.existing(run_of(config, "evaluate"))
    data = data_to_score(folder, config, given, [part] if parts is None else parts)
    components = data[0].components
    changes = given_only(flip=flip, scales=scales, absent=absent)
    further = given_only(metrics=metrics)
    if protocols:
        entries = [protocols] if isinstance(protocols, str) else protocols
        specs = dict(protocol_of(entry, changes, "job.protocols") for entry in entries)
    else:
        one = config.get("evaluation") or components.config["evaluation"]
        specs = {title_of(one["name"], changes): one | changes}
    specs = {title: with_metric_options(spec | further) for title, spec in specs.items()}
    evaluations = {title: checked(spec, title, components.task) for title, spec in specs.items()}

    scores = score_parts(data, folder, evaluations, checkpoint)
    if data[0].place is not None or data[0].part != "val" or len(data) > 1:
        show("\n".join(of_part.text() for of_part in data), end="\n\n")
    _print_scores(scores, components.dataset.classes)
    environment = describe_environment(components.device)
    for of_part in data:
        record = _record(of_part, checkpoint, specs, scores[of_part.part]) | {"environment": environment}
        path = folder.path / of_part.file_name(checkpoint)
        components.processes.broadcast(lambda path=path, record=record: write_json(path, record))
    *_, score = next(iter(scores[data[0].part].values())).values()
    return score.miou


def _print_scores(scores: Mapping[str, Mapping[str, Mapping[str, Scores]]], classes: Sequence[str]) -> None:
    """Print tables of scores by part, protocol and network: all networks, then the classes of the last one."""
    flat: dict[str, Mapping[str, Scores]] = {}
    for part, of_part in scores.items():
        for title, of in of_part.items():
            names = [*([title] if len(of_part) > 1 or len(scores) == 1 else []), *([part] if len(scores) > 1 else [])]
            flat[" on ".join(names)] = of
    *_, whose = next(iter(flat.values()))
    show(protocols_table(flat, "mIoU on" if len(scores) > 1 else "mIoU under"), end="\n\n")
    if len(flat) == 1:
        show(f"scores of {whose}\n{metrics_table(next(iter(flat.values()))[whose], classes)}")
    else:
        show(f"IoU of {whose}\n{scores_table({title: of[whose] for title, of in flat.items()}, classes)}")


def _record(
    data: ScoredData, checkpoint: str, specs: Mapping[str, Any], scores: Mapping[str, Mapping[str, Scores]]
) -> dict[str, Any]:
    """The scores on one part under all protocols, ready for JSON."""
    dataset = data.components.dataset
    return {
        "checkpoint": checkpoint,
        "dataset": {"name": dataset.name, "place": data.place, "part": data.part, "images": len(data.ids)},
        "protocols": {
            title: {
                "evaluation": specs[title],
                "miou": {name: score.miou for name, score in of.items()},
                "metrics": {name: score.overall for name, score in of.items()},
                "per_class": {
                    name: {metric: value.per_class for metric, value in score.metrics.items() if value.per_class}
                    for name, score in of.items()
                },
                "iou": {name: dict(zip(dataset.classes, score.iou, strict=True)) for name, score in of.items()},
                "confusion": {name: confusion_of(score) for name, score in of.items()},
            }
            for title, of in scores.items()
        },
    }
