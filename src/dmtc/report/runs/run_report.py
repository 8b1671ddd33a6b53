"""The report of one run, finished or not: scores of every round, images, pseudo-labels and training curves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from dmtc.config.methods import method_title
from dmtc.core.command import command
from dmtc.core.errors import ConfigError, DataError, UserError
from dmtc.data.ids import file_name
from dmtc.engine.components import Components
from dmtc.engine.context import RunContext
from dmtc.engine.inputs import refuse_among_inputs
from dmtc.machine.interruption import Interruption
from dmtc.report.chart_style import Chart, sheet
from dmtc.report.confusion import confusion_charts
from dmtc.report.page import page_of, picture
from dmtc.report.pictures import Panel, draw_panels, legend_of
from dmtc.report.report_folder import FIGURES, PAGE, PICTURES, ReportFolder
from dmtc.report.results import mean_test
from dmtc.report.runs import run_charts
from dmtc.report.runs.images import ImageRow, draw_rows, image_rows
from dmtc.report.runs.phase_rows import phase_table
from dmtc.report.runs.run_data import RunFacts, Stage, read_run
from dmtc.report.runs.step_charts import step_charts
from dmtc.report.runs.step_views import StepRow, step_rows
from dmtc.report.runs.validation import StageScores, kept_scores, score_stages, scored_images
from dmtc.run.folder import RunFolder
from dmtc.tracking.part_scores import part_scores
from dmtc.tracking.progress import Progress

_OTHER_IMAGES = (
    "The validation images have changed since the run was trained: the images below and the scores of ensembles are"
    " from the current ones, all other scores from the earlier ones."
)
_PANEL_WIDTH = 360
"""Width of images in the page, in pixels: twice the size that most screens show."""


def write_run_report(
    components: Components,
    folder: RunFolder,
    beside: Sequence[tuple[Components, RunFolder]] = (),
    out: Path | None = None,
    interruption: Interruption | None = None,
) -> Path:
    """Write report.html, report/ with the charts as PNG and SVG, and pictures/.

    Parts that need the validation images are left out, with a remark, if these or the networks cannot be read.

    Args:
        components: The run's components; `run.pictures` is the number of images shown.
        folder: The run's folder.
        beside: Other runs, whose predictions are shown next to its own.
        out: Folder to write to; by default the run's folder.
        interruption: Checked between validation images, for a run that has just finished.

    Returns:
        The path of the page.

    Raises:
        ConfigError: Another run has other classes or is not finished, or the folder cannot be written to.
        DataError: The run has no finished phases yet.
        RunStopped: Interrupted; the next report starts scoring over.
    """
    facts = read_run(components, folder)
    if not facts.stages:
        raise DataError(f"{folder.path} has nothing to report yet: no phase is done by every network")
    report = ReportFolder(folder.path if out is None else out, "report", folder)
    if out is not None:
        refuse_among_inputs(components, out, "job.out")
    report.refuse_foreign()
    try:
        others = [_other(*other, components) for other in beside]
        remarks, rows, of_step = [], [], []
        kept = report.claim(f"{FIGURES}/validation.json")
        scores = kept_scores(components, folder, facts.stages, kept)
        if components.is_relocated:
            _ = components.dataset  # if its location was given explicitly, failing to read it is an error
        try:
            context = RunContext(components, folder, Progress([], "off"), interruption=interruption)
            scores = score_stages(context, facts.stages, kept)
            if folder.read_data().scored_sha256 != scored_images(components.dataset):
                remarks.append(_OTHER_IMAGES)
            rows = (
                image_rows(context, facts.stages, scores, components.run.pictures, others)
                if components.run.pictures
                else []
            )
            of_step = step_rows(components, folder, facts) if components.run.pictures else []
        except UserError as error:
            what = "some images" if rows else "images" if scores else "images and the scores of ensembles"
            remarks.append(f"Without {what}: {error}")
        for name, content in draw_rows(rows, components.dataset).items() if rows else ():
            report.add(f"{PICTURES}/{name}", content)
        for row in of_step:
            report.add(f"{PICTURES}/{file_name(row.name)}.png", draw_panels(row.panels, components.dataset))
        figures = _figures(facts, scores)
        for name, found in figures.items():
            columns = {"labels": 2, "steps": 2, "thresholds": 2, "confusion": 1}.get(name, 4)
            for suffix, content in sheet(found, columns).items():
                report.add(f"{FIGURES}/{name}{suffix}", content)
        report.add(
            PAGE,
            page_of("run.html.jinja", _content(facts, folder, scores, rows, of_step, figures, remarks, components)),
        )
        return report.write()
    except PermissionError as error:
        raise ConfigError(
            f"{error.filename or report.path} cannot be written ({error.strerror}); choose another folder with"
            " job.out=DIR"
        ) from error


def _other(components: Components, folder: RunFolder, own: Components) -> tuple[str, RunContext, Stage]:
    facts = read_run(components, folder)
    if components.dataset.classes != own.dataset.classes or facts.results is None:
        why = "is not finished" if facts.results is None else "has other classes"
        raise ConfigError(f"job.beside: {folder.path} {why}, so it cannot be shown beside this run")
    return facts.results["method"], RunContext(components, folder, Progress([], "off")), facts.stages[-1]


def _figures(facts: RunFacts, scores: dict[str, StageScores]) -> dict[str, list[Chart]]:
    """Charts by file name."""
    whose, before, after = classes_of(facts, scores)
    score = run_charts.score_chart(facts, scores)
    return {
        "miou": [score] if score else [],
        "classes": [run_charts.class_chart(facts.classes, before, after, whose)],
        "confusion": confusion_charts(facts.results),
        "labels": run_charts.label_charts(facts),
        "steps": step_charts(facts),
        "calibration": run_charts.calibration_charts(facts),
        "thresholds": run_charts.table_charts(facts, "thresholds"),
        "precision": run_charts.table_charts(facts, "precision"),
        "training": run_charts.metric_charts(facts),
    }


def classes_of(
    facts: RunFacts, scores: Mapping[str, StageScores]
) -> tuple[str, list[float | None], list[float | None]]:
    """The predictor whose class IoUs are shown, and these at the start and now."""
    first, last = facts.stages[0], facts.stages[-1]
    if len(facts.networks) > 1 and first.key in scores and last.key in scores:
        return "ensemble", scores[first.key].iou, scores[last.key].iou
    network = facts.networks[0]
    before, after = (facts.records[stage.phases[network]].iou_last for stage in (first, last))
    return f"network {network}", before, after


def _content(
    facts: RunFacts,
    folder: RunFolder,
    scores: dict[str, StageScores],
    rows: Sequence[ImageRow],
    of_step: Sequence[StepRow],
    figures: dict[str, list[Chart]],
    remarks: list[str],
    components: Components,
) -> dict[str, Any]:
    config, results = facts.config, facts.results
    split = folder.read_split()
    total = len(split.labelled) + len(split.unlabelled)
    state = "finished"
    if results is None:
        state = f"not finished: {len(facts.records)} of {len(facts.plan)} phases done"
    method, dataset = method_title(config), config["dataset"]["name"]
    return {
        "title": f"{method} on {dataset}, {split.ratio} labelled, seed {config['seed']}",
        "state": state,
        "folder": folder.path.name,
        "cards": _cards(facts, scores, len(split.labelled), total),
        "remarks": [*remarks, *_warnings(facts)],
        "figures": figures,
        "class_tables": run_charts.class_tables(facts),
        "images": [(row, _sources(row.panels)) for row in rows],
        "of_step": [(row, _sources(row.panels)) for row in of_step],
        "legend": legend_of(components.dataset) if rows or of_step else [],
        "parts": _parts(results or {}),
        "phases": phase_table(facts),
        "notes": _notes(results or {}),
        "config": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "made": _made(facts),
        "footer": f"dmtc, {datetime.now():%Y-%m-%d %H:%M}. To update it: {command('job=report run=RUN_DIR')}",
    }


def _sources(panels: Sequence[Panel]) -> list[tuple[str, str]]:
    """Titles and sources of <img> elements."""
    return [(panel.title, picture(panel.picture, _PANEL_WIDTH, panel.is_photo)) for panel in panels]


def _warnings(facts: RunFacts) -> list[str]:
    """Problems that did not stop the run."""
    warnings = []
    for record in facts.records.values():
        warnings += record.warnings
        for items, what in ((record.dropped_steps, "steps were dropped"), (record.skipped, "images were skipped")):
            if items:
                warnings.append(f"{record.name}: {len(items)} {what}")
    return warnings


def _cards(facts: RunFacts, scores: dict[str, StageScores], labelled: int, total: int) -> list[tuple[str, str]]:
    """The key figures at the top of the page."""
    first, last = facts.stages[0], facts.stages[-1]
    now = [record.miou_last for record in facts.of(last)]
    then = [record.miou_last for record in facts.of(first)]
    mean, gain = sum(now) / len(now), (sum(now) - sum(then)) / len(now)
    cards = []
    if last.key in scores and len(facts.networks) > 1:
        cards.append((f"{100 * scores[last.key].miou:.1f} %", f"mIoU of the ensemble, {last.title}"))
    whose = "mean of the networks" if len(now) > 1 else f"network {facts.networks[0]}"
    cards.append((f"{100 * mean:.1f} %", f"mIoU, {whose}, last weights"))
    cards += _test_cards(facts.results or {})
    if len(facts.stages) > 1:
        cards.append((f"{100 * gain:+.1f}", "points over the supervised start"))
    cards.append((f"{labelled}", f"of {total} images are labelled"))
    seconds = sum(record.seconds for record in facts.records.values())
    device = {"cpu": "a CPU"}.get(known := str(facts.environment.get("device")), known)
    cards.append((f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h", f"on {device}"))
    return cards


def _test_cards(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The score on the test part of the ensemble, or of the only network."""
    test, score = results.get("test"), mean_test(results)
    if test is None or score is None:
        return []
    together = test["miou"].get("ensemble")
    whose = "" if together is None else " of the ensemble"
    return [
        (f"{100 * (score if together is None else together):.1f} %", f"mIoU{whose} on {test['images']} test images")
    ]


def _parts(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Scores on the validation and on the test images, in percent; None without a test part."""
    rows = part_scores(results)
    header = ["%", "of", "validation", "test"]
    shown = [[name, of, *("-" if one is None else f"{100 * one:.1f}" for one in values)] for name, of, *values in rows]
    return (header, shown) if rows else None


def _notes(results: Mapping[str, Any]) -> list[str]:
    """What is to be said about the columns of the phases."""
    metric = results.get("monitor", {}).get("metric", "miou")
    best = "best: mIoU of the weights with the highest {} on the validation images (run.monitor)"
    notes = [f"{name}: {note}" for name, note in results.get("metric_notes", {}).items()]
    return [*([] if metric == "miou" else [best.format(metric)]), *notes]


def _made(facts: RunFacts) -> str:
    facts_of = facts.environment
    packages = ", ".join(f"{name} {version}" for name, version in (facts_of.get("packages") or {}).items() if version)
    commit = f"commit {str(facts_of.get('commit'))[:10]}" if facts_of.get("commit") else ""
    changed = " with uncommitted changes" if facts_of.get("uncommitted_changes") else ""
    known = [facts_of.get("processor"), f"Python {facts_of.get('python')}", packages, f"{commit}{changed}"]
    return "; ".join(str(part) for part in known if part)
