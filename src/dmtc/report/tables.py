"""Tables for the terminal: the plan before a run, and the results after it. Numbers become percent only here."""

from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from dmtc.core.markup import in_one_line
from dmtc.evaluation import Scores, title_of
from dmtc.schedule import Phase
from dmtc.splits import Split, describe_published, set_sha256

_ABSENT = {"left_out": "left out of the mean", "undefined": "so the mean is NaN", "zero": "counted as 0 in the mean"}


def plan_table(
    method: str, plan: list[Phase], split: Split, choices: Sequence[str] = (), scored: str | None = None
) -> str:
    """The phases in order with their images, steps and label sources, then the split and its publications.

    Args:
        method: Name of the method.
        plan: The phases.
        split: Their images.
        choices: Settings computed from the data, one line each.
        scored: A line about the scored images.
    """
    rows = [
        [
            phase.name,
            phase.trainee,
            phase.init_from or "starting weights",
            phase.taught_by or "-",
            f"{phase.label_ratio:.0%}" if phase.label_ratio is not None else "-",
            f"{phase.steps}",
            f"{phase.labelled_batch}/{len(split.subsets[phase.trainee])}",
            f"{phase.pseudo_batch}/{phase.share_of(len(split.unlabelled))}" if phase.learns_from_unlabelled else "-",
            f"{phase.learning_rate:g}",
        ]
        for phase in plan
    ]
    columns = ["phase", "net", "from", "labels by", "ratio", "steps", "labelled", "pseudo", "rate"]
    total = f"{method}: {len(plan)} phase{'' if len(plan) == 1 else 's'}, {sum(phase.steps for phase in plan)} steps"
    networks = dict.fromkeys(phase.trainee for phase in plan)
    lists = {f"labelled {network}": split.subsets[network] for network in networks}
    lists["unlabelled"] = split.unlabelled
    lines = [
        text_table(columns, rows),
        f"{total}; labelled, pseudo: images per step/in total",
        *_images_and_labels(plan),
        *choices,
        *([scored] if scored else []),
        "",
        split_line(split),
        "SHA-256 of the sorted ids, one per line:",
        *(f"{name:<10} {len(ids):>4} {set_sha256(ids)}" for name, ids in lists.items()),
        *describe_published(split),
    ]
    return "\n".join(lines) + "\n"


def _images_and_labels(plan: list[Phase]) -> list[str]:
    """Which images phases learn from, and whose labels, where that is not all images and one teacher."""
    kept = {phase.name: phase.kept_after for phase in plan}
    chosen = [
        f"{phase.name}: the {phase.image_share:.0%} of the unlabelled images on which {phase.ranked_by} after steps "
        f"{' and '.join(map(str, kept[phase.ranked_by]))} best agrees with its last weights"
        for phase in plan
        if phase.ranked_by is not None
    ]
    stay = [
        f"{phase.name}: labels by {phase.keeps_labels_of} stay; {phase.label_from} labels the other images"
        for phase in plan
        if phase.keeps_labels_of is not None
    ]
    return chosen + stay


def _stage(record: dict[str, Any]) -> str:
    if record["label_from"] is None:
        return "start" if record["teacher"] is None else "online"
    return f"round {record['name'].split('-')[0][1:]}"


def split_line(split: Split) -> str:
    """One line about a split."""
    return (
        f"split {split.name} {split.ratio}: {len(split.labelled)} labelled, {len(split.unlabelled)} unlabelled, "
        f"sha256 {split.sha256[:16]}"
    )


def results_table(results: dict[str, Any]) -> str:
    """The results for people: phases, classes, and the final scores last, where a terminal shows them."""
    rows = [
        [
            _stage(record),
            record["trainee"],
            _percent(record["label_ratio"], 0),
            _percent(record["pseudo"] and record["pseudo"]["coverage"]),
            _percent(record["pseudo"] and record["pseudo"]["miou"]),
            _percent(record["miou_last"]),
            _percent(record["miou_best"]),
            tqdm.format_interval(record["seconds"]),
        ]
        for record in results["phases"]
    ]
    best = "best mIoU" if results.get("monitor", {}).get("metric", "miou") == "miou" else "mIoU of best"
    columns = ["phase", "network", "label ratio", "coverage", "pseudo mIoU", "mIoU", best, "time"]
    split, miou, baseline = results["split"], results["miou"], results["baseline"]
    whose = _whose(results["per_class_iou_of"])
    test = results.get("test")
    per_class = results["per_class"]
    columns_of_classes = ["class", f"IoU of {whose}", *per_class, *(["IoU on test"] if test else [])]
    classes = [
        [
            name,
            _percent(iou),
            *(_percent(of[name]) for of in per_class.values()),
            *([_percent(test["per_class_iou"].get(name))] if test else []),
        ]
        for name, iou in results["per_class_iou"].items()
    ]
    options = {key: value for key, value in results["evaluation"].items() if not key.startswith(("name", "metric"))}
    notes = results.get("metric_notes", {})
    lines = [
        f"{results['method']} on {results['dataset']}, {split['ratio']} labelled "
        f"({split['labelled']} of {split['labelled'] + split['unlabelled']} images), seed {results['seed']}",
        "",
        text_table(columns, rows),
        "",
        text_table(columns_of_classes, classes),
    ]
    if results["absent_classes"]:
        absent = ", ".join(results["absent_classes"])
        lines.append(f"in neither truth nor prediction, {_ABSENT[results['evaluation']['absent']]}: {absent}")
    lines += [
        "",
        f"scored by the protocol {title_of(results['evaluation']['name'], options)}",
        *(f"{name}{_note(notes.get(name))}: {_by_network(values)}" for name, values in results["metrics"].items()),
        f"in percent; {_best(results.get('monitor', {}))} is chosen on the validation images and therefore optimistic",
        "",
    ]
    for network in ("a", "b"):
        if miou[network]:
            gain = miou[network]["last"] - baseline[network]
            # A method without rounds is its own baseline; a gain of 0 over itself would be confusing.
            more = f", {100 * gain:+.1f} over its supervised start" if len(results["phases"]) > 1 else ""
            lines.append(f"network {network}: mIoU {_percent(miou[network]['last'])}{more}")
    if miou["ensemble"] is not None:
        lines.append(f"ensemble:  mIoU {_percent(miou['ensemble'])}")
    if test:
        of = [f"{name} {_percent(value)}" for name, value in test["miou"].items() if value is not None]
        lines.append(f"test:      mIoU {', '.join(of)} ({test['images']} images, on which nothing was chosen)")
    spent = tqdm.format_interval(results["seconds"])
    lines.append(f"in {spent} of labelling, training and scoring on {results['device']}")
    return "\n".join(lines) + "\n"


def _best(monitor: Mapping[str, Any]) -> str:
    """Which evaluation is called the best, with its value if that is not an mIoU."""
    metric = monitor.get("metric", "miou")
    if metric == "miou":
        return "best"
    of = [f"{key} {_percent(one['value'])}" for key, one in monitor.items() if key != "metric"]
    return f"best, by {metric} ({', '.join(of)}),"


def _note(note: str | None) -> str:
    return f" ({note})" if note else ""


def _whose(network: str) -> str:
    return "the ensemble" if network == "ensemble" else f"network {network}"


def _by_network(values: Mapping[str, float]) -> str:
    return ", ".join(f"{network} {_percent(value)}" for network, value in values.items())


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A text table; the first column is left-aligned, the others right-aligned."""
    columns, rows = [in_one_line(name) for name in columns], [[in_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def protocols_table(scores: Mapping[str, Mapping[str, Scores]], corner: str = "mIoU under") -> str:
    """Mean IoU by protocol or part (rows), for each network and their ensemble (columns)."""
    rows = [[protocol, *(_percent(score.miou) for score in of.values())] for protocol, of in scores.items()]
    return text_table([corner, *next(iter(scores.values()))], rows)


def scores_table(scores: Mapping[str, Scores], classes: Sequence[str]) -> str:
    """IoU of each class, other metrics, and mIoU, with one column per predictor or protocol."""
    rows = [[name, *(_percent(score.iou[i]) for score in scores.values())] for i, name in enumerate(classes)]
    notes = {name: value.note for score in scores.values() for name, value in score.metrics.items()}
    rows += [
        [f"{name}{_note(note)}", *(_percent(score.overall.get(name)) for score in scores.values())]
        for name, note in notes.items()
    ]
    rows.append(["mIoU", *(_percent(score.miou) for score in scores.values())])
    return text_table(["class", *scores], rows)


def metrics_table(scores: Scores, classes: Sequence[str]) -> str:
    """IoU and every other metric that has values for classes, by class (rows), with the means in the last row."""
    columns = {"IoU": scores.iou} | {name: of.per_class for name, of in scores.metrics.items() if of.per_class}
    rows = [[name, *(_percent(values[i]) for values in columns.values())] for i, name in enumerate(classes)]
    means = [scores.miou, *(scores.overall[name] for name in list(columns)[1:])]
    rows.append(["mean", *map(_percent, means)])
    others = {name: of for name, of in scores.metrics.items() if name not in columns}
    lines = [f"{name}{_note(of.note)}: {_percent(of.overall)}" for name, of in others.items()]
    lines += [f"{name}: {of.note}" for name, of in scores.metrics.items() if name in columns and of.note]
    return "\n".join([text_table(["class", *columns], rows), *lines])
