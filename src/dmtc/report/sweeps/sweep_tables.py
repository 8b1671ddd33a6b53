"""The rows of a sweep as Markdown, CSV and LaTeX: percent in text for people, shares in [0, 1] in CSV files."""

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any

from dmtc.core.markup import in_latex, in_markdown, in_one_line
from dmtc.report.results import mean_test
from dmtc.report.sweeps.finding import RunRecord
from dmtc.report.sweeps.grouping import Panel, Row
from dmtc.report.sweeps.paired import Gain

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""

SHORT = "gains in points: mean over the same seeds [95 % confidence interval], p of a paired t-test, pairs won"


def overview(panel: Panel) -> Table:
    """Mean and spread, with a row per method and a column per number of labels."""
    rows = {(row.name, row.cell): row for row in panel.rows}
    header = ["method", *(f"{ratio} ({labelled})" for labelled, ratio, _ in panel.cells)]
    return header, [
        [name, *(spread(rows[name, cell].scores) if (name, cell) in rows else "" for cell in panel.cells)]
        for name in panel.methods
    ]


def details(panel: Panel, baselines: Sequence[str], over: Sequence[str]) -> Table:
    """Each row with gains, costs and seeds."""
    bases = [name for name in baselines if any(name in row.gains for row in panel.rows)]
    ensembles = any(row.ensembles for row in panel.rows)
    tests = any(row.tests for row in panel.rows)
    hours = [statistics.fmean(device_hours(run) for run in row.runs.values()) for row in panel.rows]
    unit, in_hour = ("hours", 1) if max(hours) >= 1 else ("minutes", 60)
    header = ["labelled", "method", "mIoU", *(f"over {name}" for name in bases)]
    header += ["ensemble"] * ensembles + ["test"] * tests + [f"{device_kind(panel.rows)}-{unit}", "peak GB"]
    header += [", ".join(key.rpartition(".")[2] for key in over)]
    return header, [
        [
            f"{row.ratio} ({row.labelled})",
            row.name,
            spread(row.scores),
            *(gain_text(row.gains[name]) if name in row.gains else "" for name in bases),
            *([spread(row.ensembles)] if ensembles else []),
            *([spread(row.tests)] if tests else []),
            f"{in_hour * spent:.1f}",
            memory_text(row),
            " ".join(",".join(key) for key in row.runs),
        ]
        for row, spent in zip(panel.rows, hours, strict=True)
    ]


def not_finished(records: Sequence[RunRecord]) -> Table:
    """A row for each unfinished run."""
    return ["run", "state", "why"], [[r.name, r.state, r.reason] for r in records if r.state != "finished"]


def markdown(table: Table) -> str:
    """A Markdown table with aligned columns, so that it can be read in a terminal."""
    header, rows = table
    cells = [[in_markdown(cell) for cell in row] for row in [header, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "".join(f"| {line} |\n" for line in lines)


def latex(panel: Panel) -> str:
    """The overview as LaTeX with booktabs, with the best mean of each column in bold."""
    header, _ = overview(panel)
    rows = {(row.name, row.cell): row for row in panel.rows}
    best = {cell: max(row.mean for row in panel.rows if row.cell == cell) for cell in panel.cells}
    lines = [
        f"% mIoU in percent, mean and standard deviation, on {in_one_line(panel.title)}; needs the package booktabs",
        f"\\begin{{tabular}}{{l{'c' * len(panel.cells)}}}",
        "\\toprule",
        " & ".join(map(in_latex, header)) + r" \\",
        "\\midrule",
    ]
    for name in panel.methods:
        line = [in_latex(name)]
        for cell in panel.cells:
            row = rows.get((name, cell))
            line.append("" if row is None else _tex_score(row.scores, row.mean == best[cell]))
        lines.append(" & ".join(line) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def rows_csv(panels: Sequence[Panel], baselines: Sequence[str]) -> str:
    """All rows in full precision."""
    records = []
    for panel in panels:
        for row in panel.rows:
            record: dict[str, Any] = {
                "data set": panel.dataset,
                **panel.shown,
                "ratio": row.ratio,
                "labelled": row.labelled,
                "method": row.method,
                **row.shown,
                "runs": len(row.runs),
                "miou_mean": row.mean,
                "miou_std": statistics.stdev(row.scores) if len(row.runs) > 1 else None,
                "ensemble_mean": statistics.fmean(row.ensembles) if row.ensembles else None,
                **(_of_tests(row) if any(row.tests for panel in panels for row in panel.rows) else {}),
                **_of_metrics(row),
                "device_hours_mean": statistics.fmean(device_hours(run) for run in row.runs.values()),
                "peak_memory_bytes": peak_memory(row),
            }
            for name in baselines:
                gain = row.gains.get(name)
                record |= {f"gain_over_{name}": gain and gain.mean, f"margin_over_{name}": gain and gain.margin}
                record |= {f"p_over_{name}": gain and gain.p, f"won_over_{name}": gain and gain.won}
            records.append(record)
    return _csv(records)


def runs_csv(records: Sequence[RunRecord]) -> str:
    """All runs, finished or not."""
    lines = []
    for record in records:
        results = record.results
        line: dict[str, Any] = {"run": record.name, "state": record.state, "why": record.reason}
        if results:
            split, miou = results["split"], results["miou"]
            line |= {"data set": results["dataset"], "ratio": split["ratio"], "labelled": split["labelled"]}
            line |= {"method": record.method, "seed": results["seed"]}
            line |= {"miou": miou["mean_last"], "ensemble": miou["ensemble"]}
            if test := results.get("test"):
                line |= {"test": mean_test(results), "test_ensemble": test["miou"].get("ensemble")}
            line |= {
                f"{name}_{of}": value for name, values in results["metrics"].items() for of, value in values.items()
            }
            line |= {"seconds": results["seconds"], "device_hours": device_hours(record)}
            line |= {f"iou_{name}": iou for name, iou in class_ious(record).items()}
        lines.append(line)
    return _csv(lines)


def _of_metrics(row: Row) -> dict[str, float]:
    """Each further metric, averaged like the score over networks and then over runs."""
    of: dict[str, list[float]] = {}
    for run in row.runs.values():
        for name, values in run.results["metrics"].items():
            own = [value for network, value in values.items() if network != "ensemble" and value is not None]
            if own:
                of.setdefault(name, []).append(statistics.fmean(own))
    return {f"{name}_mean": statistics.fmean(values) for name, values in of.items()}


def _of_tests(row: Row) -> dict[str, float | None]:
    scores = row.tests
    return {
        "test_mean": statistics.fmean(scores) if scores else None,
        "test_std": statistics.stdev(scores) if len(scores) > 1 else None,
    }


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation in percent."""
    if not values:
        return ""
    mean = f"{100 * statistics.fmean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def gain_text(gain: Gain) -> str:
    """Mean, 95 % confidence interval, p, and number of seeds won."""
    text = f"{100 * gain.mean:+.1f}"
    if gain.margin is not None:
        text += f" [{100 * (gain.mean - gain.margin):+.1f}, {100 * (gain.mean + gain.margin):+.1f}]"
    if gain.p is not None:
        text += f" p {gain.p:.3f}" if gain.p >= 0.001 else " p < 0.001"
    return f"{text} {gain.won}/{gain.pairs}"


def device_hours(run: RunRecord) -> float:
    """Hours of training, labelling and scoring: wall-clock on a GPU, time of the processors on a CPU."""
    return run.results["seconds" if _is_gpu(run) else "cpu_seconds"] / 3600


def device_kind(rows: Sequence[Row]) -> str:
    """The unit of device hours: GPU or CPU, or device for a mixture."""
    kinds = {_is_gpu(run) for row in rows for run in row.runs.values()}
    return "device" if len(kinds) > 1 else "GPU" if kinds == {True} else "CPU"


def memory_text(row: Row) -> str:
    """Peak memory in GB of 2^30 bytes."""
    peak = peak_memory(row)
    return "" if peak is None else f"{peak / 2**30:.1f}"


def peak_memory(row: Row) -> int | None:
    """Peak bytes over all phases of all runs; None if unknown."""
    phases = [phase for run in row.runs.values() for phase in run.results["phases"]]
    return max((phase["peak_memory_bytes"] for phase in phases if phase.get("peak_memory_bytes")), default=None)


def class_ious(run: RunRecord) -> dict[str, float | None]:
    """IoU of each class, averaged like the score over the run's last networks; None for an absent class."""
    of: dict[str, list[float | None]] = {}
    for phase in run.results["phases"]:
        if phase.get("iou_last"):
            of[phase["trainee"]] = phase["iou_last"]
    names = run.results["per_class_iou"]
    if not of:
        return dict(names)
    means: dict[str, float | None] = {}
    for name, values in zip(names, zip(*of.values(), strict=True), strict=True):
        present = [value for value in values if value is not None]
        means[name] = statistics.fmean(present) if present else None
    return means


def _is_gpu(run: RunRecord) -> bool:
    return str(run.results["device"]).startswith("cuda")


def _tex_score(values: Sequence[float], is_best: bool) -> str:
    mean = f"{100 * statistics.fmean(values):.1f}"
    mean = f"\\textbf{{{mean}}}" if is_best else mean
    return f"{mean} {{\\scriptsize$\\pm${100 * statistics.stdev(values):.1f}}}" if len(values) > 1 else mean


def _csv(records: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(dict.fromkeys(key for record in records for key in record)))
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()
