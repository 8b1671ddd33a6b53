"""One report for many runs: the best methods, their gains and costs, and the unfinished runs."""

import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dmtc.core.command import command
from dmtc.core.errors import ConfigError
from dmtc.report.chart_style import method_colors, sheet
from dmtc.report.page import page_of, template_text
from dmtc.report.report_folder import FIGURES, PAGE, ReportFolder
from dmtc.report.sweeps import sweep_charts, sweep_tables
from dmtc.report.sweeps.finding import RunRecord, read_runs
from dmtc.report.sweeps.grouping import Panel, Row, group, repeated


def write_sweep_report(
    folder: Path, over: Sequence[str], baselines: Sequence[str], out: Path | None = None
) -> tuple[str, Path]:
    """Write a report of all runs below a folder: report.html, and report/ with Markdown, CSV, LaTeX, PNG and SVG.

    Args:
        folder: The folder to search, including subfolders.
        over: Dotted keys to average over.
        baselines: Methods to compute gains over.
        out: Folder to write to; by default the folder itself.

    Returns:
        The tables as Markdown, and the path of the page.

    Raises:
        ConfigError: The folder cannot be written.
        DataError: There is no such folder, or it contains no runs.
    """
    records = read_runs(folder)
    over = repeated(records, over)
    panels, remarks = group(records, over, baselines)
    report = ReportFolder(folder if out is None else out, "sweep-report")
    report.refuse_foreign()
    text = _markdown(panels, records, remarks, over, baselines)
    report.add(f"{FIGURES}/summary.md", f"{text}\n## How to read the gains\n\n{template_text('gains.md')}")
    report.add(f"{FIGURES}/rows.csv", sweep_tables.rows_csv(panels, baselines))
    report.add(f"{FIGURES}/runs.csv", sweep_tables.runs_csv(records))
    report.add(f"{FIGURES}/table.tex", "\n".join(sweep_tables.latex(panel) for panel in panels))
    for number, panel in enumerate(panels, 1):
        heat = sweep_charts.class_chart(panel)
        for name, found in (("miou", sweep_charts.score_charts(panel)), ("classes", [heat] if heat else [])):
            for suffix, content in sheet(found).items():
                report.add(f"{FIGURES}/{name}{f'-{number}' if len(panels) > 1 else ''}{suffix}", content)
    page = _page(folder, report.path, panels, records, remarks, over, baselines)
    report.add(PAGE, page_of("sweep.html.jinja", page))
    try:
        return text, report.write()
    except PermissionError as error:
        raise ConfigError(
            f"{error.filename or report.path} cannot be written ({error.strerror}); choose another folder with"
            " job.out=DIR"
        ) from error


def _markdown(
    panels: Sequence[Panel],
    records: Sequence[RunRecord],
    remarks: Sequence[str],
    over: Sequence[str],
    baselines: Sequence[str],
) -> str:
    parts = []
    for panel in panels:
        parts += [f"## {panel.title}", sweep_tables.markdown(sweep_tables.overview(panel))]
        parts += [sweep_tables.markdown(sweep_tables.details(panel, baselines, over))]
    if any(row.gains for panel in panels for row in panel.rows):
        parts += [f"{sweep_tables.SHORT}\n"]
    parts += [f"{remark}\n" for remark in remarks]
    missing = sweep_tables.not_finished(records)
    if missing[1]:
        parts += ["## Not finished", sweep_tables.markdown(missing)]
    return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts)


def _page(
    folder: Path,
    out: Path,
    panels: Sequence[Panel],
    records: Sequence[RunRecord],
    remarks: Sequence[str],
    over: Sequence[str],
    baselines: Sequence[str],
) -> dict[str, Any]:
    rows = [row for panel in panels for row in panel.rows]
    return {
        "title": f"{' · '.join(dict.fromkeys(panel.dataset for panel in panels)) or 'no data set'}: {_methods(panels)}",
        "folder": folder.resolve().name,
        "cards": _cards(records, rows),
        "remarks": remarks,
        "panels": [_panel(panel, over, baselines) for panel in panels],
        "over": " and ".join({"seed": "seeds", "split.fold": "folds"}.get(key, key) for key in over),
        "gains": any(row.gains for row in rows),
        "reading": template_text("gains.md").split("\n\n"),
        "not_finished": sweep_tables.not_finished(records),
        "runs": [_run(record, out) for record in records if record.state != "not started"],
        "footer": f"dmtc, {datetime.now():%Y-%m-%d %H:%M}. To update it: {command('job=report runs=DIR')}",
    }


def _cards(records: Sequence[RunRecord], rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The key figures at the top of the page."""
    states = Counter(record.state for record in records)
    more = [f"{states[state]} {state}" for state in ("failed", "unfinished", "not started") if states[state]]
    cards = [(str(states["finished"]), f"runs finished{', ' if more else ''}{', '.join(more)}")]
    gains = [(gain, row, name) for row in rows for name, gain in row.gains.items()]
    if gains:
        gain, row, name = max(gains, key=lambda one: one[0].mean)
        cards += [(f"{100 * gain.mean:+.1f}", f"points, the largest gain: {row.name} over {name} at {row.ratio}")]
    if rows:
        best = max((row for row in rows if not row.is_full), key=lambda row: row.mean, default=rows[0])
        cards += [(f"{100 * best.mean:.1f} %", f"the best mIoU with part of the labels: {best.name}, {best.ratio}")]
        hours = sum(sweep_tables.device_hours(run) for row in rows for run in row.runs.values())
        text = f"{hours:.1f}" if hours >= 1 else f"{60 * hours:.0f}"
        cards += [(text, f"{sweep_tables.device_kind(rows)}-{'hours' if hours >= 1 else 'minutes'} in all")]
    return cards


def _methods(panels: Sequence[Panel]) -> str:
    names = list(dict.fromkeys(row.method for panel in panels for row in panel.rows))
    return ", ".join(names) if 0 < len(names) <= 5 else f"{len(names)} methods"


def _panel(panel: Panel, over: Sequence[str], baselines: Sequence[str]) -> dict[str, Any]:
    rows = {(row.name, row.cell): row for row in panel.rows}
    colors = method_colors([row.method for row in panel.rows])
    best = {cell: max(row.mean for row in panel.rows if row.cell == cell) for cell in panel.cells}
    overview = []
    for name in panel.methods:
        scores = []
        for cell in panel.cells:
            row = rows.get((name, cell))
            several = row is not None and len(row.runs) > 1
            scores.append(
                {
                    "mean": "" if row is None else f"{100 * row.mean:.1f}",
                    "spread": f"{100 * statistics.stdev(row.scores):.1f}" if row is not None and several else "",
                    "best": row is not None and row.mean == best[cell] and len(panel.methods) > 1,
                }
            )
        method = next(row.method for row in panel.rows if row.name == name)
        overview.append((name, colors[method], scores))
    return {
        "title": panel.title,
        "charts": sweep_charts.score_charts(panel),
        "cells": panel.cells,
        "overview": overview,
        "details": _split(sweep_tables.details(panel, baselines, over)),
        "classes": sweep_charts.class_table(panel),
    }


def _split(table: sweep_tables.Table) -> tuple[list[str], list[tuple[bool, list[tuple[str, str]]]]]:
    """For each row, whether its labels differ from the row above, and its cells, split into value and details."""
    header, rows = table
    split = []
    for above, row in zip([None, *rows], rows, strict=False):
        is_new = above is None or above[0] != row[0]
        cells = [cell.partition(" ")[::2] for cell in row[2:-1]]
        split.append((is_new, [(row[0] if is_new else "", ""), (row[1], ""), *cells, (row[-1], "")]))
    return header, split


def _run(record: RunRecord, out: Path) -> dict[str, Any]:
    results, page = record.results, record.path / "report.html"
    facts = results.get("environment") or {}
    torch_version = (facts.get("packages") or {}).get("torch")
    commit = str(results.get("commit") or "")[:10]
    made = [str(facts.get("device") or results.get("device") or ""), torch_version and f"torch {torch_version}", commit]
    # Links are relative, so that the folder can be moved; a report written elsewhere has none.
    near = page.is_file() and page.is_relative_to(out)
    return {
        "name": record.name,
        "link": quote(str(page.relative_to(out))) if near else None,
        "state": record.state,
        "score": f"{100 * record.score:.1f}" if results else "",
        "minutes": f"{results['seconds'] / 60:.1f}" if results else "",
        "made": ", ".join(part for part in made if part),
    }
