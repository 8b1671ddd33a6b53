"""Keeps scores of runs on voc_animals in results/voc_animals, and makes the tables of README.md and docs/results.md.

python benchmarks/voc_animals.py FOLDER ...   adds the finished runs below these folders, then makes tables and picture
python benchmarks/voc_animals.py              makes tables and picture

A row is one run: method, ratio, fold and seed, mIoU on the test and the validation images by the last weights (mean of
the networks), and CPU-minutes. A run that is there already is replaced. Runs of crescendo with a part changed are the
ablation. Runs on CamVid have a table of their own: its validation images are their test, as no setting of a method was
chosen on them.
"""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dmtc.report.chart_style import INK, method_colors, method_marker
from dmtc.report.results import mean_test
from dmtc.report.sweeps.finding import RunRecord, read_runs
from dmtc.report.sweeps.paired import Gain, paired_gain
from dmtc.report.sweeps.sweep_tables import gain_text, markdown, spread

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "voc_animals"
PRECISION = ROOT / "benchmarks" / "results" / "precision" / "voc_animals_1_30.json"
"""Runs of crescendo in bfloat16, for comparison with runs that were computed alike."""
BEGIN, END = "<!-- made by benchmarks/voc_animals.py -->", "<!-- end -->"
PICTURE = ROOT / "docs" / "pictures" / "voc_animals.png"
HOUSE = "crescendo"
"""The method whose parts the ablation changes."""
CAMVID = "camvid"
BASELINE = "supervised_long views=strong_both"
"""Training on the labelled images alone, for as many images and with the same strong views."""

Row = dict[str, Any]


def main(folders: Sequence[str]) -> None:
    """See the head of this file."""
    found = [run for folder in folders for run in read_runs(Path(folder)) if run.state == "finished"]
    kept = {key_of(row): row for row in [*read(), *map(row_of, found)]}
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, rows in groupby((kept[key] for key in sorted(kept)), key=file_of):
        (RESULTS / name).write_text(json.dumps(list(rows), indent=1) + "\n", "utf-8")
    rows = read()
    for name, make in PAGES.items():
        page = ROOT / name
        page.write_text(with_part(page.read_text("utf-8"), make(rows)), "utf-8")
    draw(compared(rows), PICTURE)


def row_of(run: RunRecord) -> Row:
    """What is kept of a run.

    Raises:
        SystemExit: The run has no score on test images.
    """
    results, environment = run.results, run.results["environment"]
    dataset = CAMVID if results["dataset"] == CAMVID else "voc_animals"
    split, test = results["split"], mean_test(results)
    if dataset == CAMVID:
        test = results["miou"]["mean_last"]
    if test is None:
        raise SystemExit(f"{run.path}: no score on test images, as run.test=false")
    return {
        "method": " ".join([results["method"], *_changed(run)]),
        "ratio": split["ratio"],
        "labelled": split["labelled"],
        "fold": run.settings["split.fold"],
        "seed": results["seed"],
        "dataset": dataset,
        "test": {"miou": test},
        "val": {"miou": results["miou"]["mean_last"]},
        "cpu_minutes": results["cpu_seconds"] / 60,
        "steps": sum(phase["steps"] for phase in results["phases"]),
        "commit": results["commit"],
        "processor": environment["processor"],
        "threads": environment["threads"],
        "precision": _precision(run),
        "versions": {"python": environment["python"], "torch": environment["packages"]["torch"]},
    }


def _changed(run: RunRecord) -> list[str]:
    """Options of the method that the command line changed; choices of groups are in the method's name."""
    command = json.loads((run.path / "environment.json").read_text("utf-8"))["command"]
    return sorted(
        word for word in command if word.startswith(("loss.", "teacher.", "views.", "mixing.", "schedule.online."))
    )


def _precision(run: RunRecord) -> str:
    asked = str(run.settings["run.precision"])
    on_cpu = str(run.results["device"]).startswith("cpu")
    return asked if asked != "auto" else "float32" if on_cpu else "bfloat16"


def key_of(row: Row) -> tuple[str, ...]:
    """What tells runs apart, in the order of the files."""
    return (file_of(row), *(str(row[key]) for key in ("method", "fold", "seed")))


def file_of(row: Row) -> str:
    """The name of the file that keeps a row."""
    kind = "camvid_" if row["dataset"] == CAMVID else "ablation_" if row["method"].startswith(f"{HOUSE} ") else ""
    return f"{kind}{row['ratio'].replace('/', '_')}.json"


def read() -> list[Row]:
    """All rows that are kept."""
    return [row for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text("utf-8"))]


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows that compare methods on pictures of animals."""
    return [row for row in rows if file_of(row) == f"{row['ratio'].replace('/', '_')}.json"]


def with_part(page: str, part: str) -> str:
    """The page with the part between the marks replaced."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{part}\n{END}{rest.partition(END)[2]}"


def overview(rows: Sequence[Row]) -> str:
    """One table: a line for each method, two columns for each number of labels; and with what it was measured."""
    rows = compared(rows)
    counts = sorted({row["labelled"] for row in rows})
    groups = {count: _by_method([row for row in rows if row["labelled"] == count]) for count in counts}
    ratios = {row["labelled"]: row["ratio"] for row in rows}
    header = ["mIoU on test images"]
    for count in counts:
        header += [f"{count:,} labels ({ratios[count]})", "CPU-minutes"]
    fewest = groups[counts[0]]
    others = [name for name in dict.fromkeys(row["method"] for row in rows) if name not in fewest]
    lines = []
    for name in [*fewest, *others]:
        line = [name]
        for count in counts:
            own, baseline = groups[count].get(name, {}), groups[count].get(BASELINE, {})
            gain = _gain(own, baseline)
            text = spread([_test(row) for row in own.values()]) if own else ""
            text += f" ({len(own)} of {len(baseline)} folds)" if 0 < len(own) < len(baseline) else ""
            line += [
                f"{text}, {gain_text(gain).partition(' p ')[0]}" if gain and name != BASELINE else text,
                _minutes(own),
            ]
        lines.append(line)
    how = f"Behind the comma: the gain over {BASELINE} in points, over the same folds [95 % confidence interval]."
    return f"{markdown((header, lines))}\n{how} {made_with(rows, gains=False)}"


def tables(rows: Sequence[Row]) -> str:
    """A table for each number of labels, one of CamVid, the ablation, and with what they were measured."""
    every, rows = rows, compared(rows)
    by_labels = sorted(rows, key=lambda row: row["labelled"])
    parts = [table(list(same)) for _, same in groupby(by_labels, key=lambda row: row["labelled"])]
    picture = f"![Test mIoU against the number of labelled images](pictures/{PICTURE.name})\n"
    streets = [row for row in every if row["dataset"] == CAMVID]
    if streets:
        parts.append(f"CamVid, its 101 validation images; rows with options were tried afterwards:\n\n{table(streets)}")
    parts += ablation(every)
    return "\n".join([*([picture] if len(parts) > 1 else []), *parts, made_with(every, gains=True)])


def ablation(rows: Sequence[Row]) -> list[str]:
    """Tables of what a changed part is worth: each row against crescendo on the same fold in the same precision."""
    whole = [row for row in [*rows, *json.loads(PRECISION.read_text("utf-8"))] if row["method"] == HOUSE]
    by_run = {(row["labelled"], row["precision"], _pair(row)): row for row in whole if row["dataset"] != CAMVID}
    changed = [row for row in rows if file_of(row).startswith("ablation_")]
    parts = []
    for labelled, same in groupby(sorted(changed, key=lambda row: row["labelled"]), key=lambda row: row["labelled"]):
        lines = []
        for name, own in reversed(_by_method(list(same)).items()):
            bases = {pair: by_run[labelled, row["precision"], pair] for pair, row in own.items()}
            gain = _gain(own, bases)
            test = [spread([_test(row) for row in each.values()]) for each in (own, bases)]
            val = spread([row["val"]["miou"] for row in own.values()])
            folds = " ".join(str(row["fold"]) for row in own.values())
            lines.append([name, *test, gain_text(gain) if gain else "", val, _minutes(own), folds])
        scored = ["test mIoU", "unchanged", "difference", "val mIoU"]
        header = [f"{labelled:,} labels", *scored, "CPU-minutes", "folds"]
        parts.append(f"What a changed part of crescendo is worth:\n\n{markdown((header, lines))}")
    return parts


PAGES = {"README.md": overview, "docs/results.md": tables}
"""The pages, and what is made of the rows for each."""


def table(rows: Sequence[Row]) -> str:
    """Methods from the lowest to the highest: mean and spread, paired gain over the baseline, CPU-minutes, folds."""
    has_both = all(row["dataset"] != CAMVID for row in rows)
    (ratio,), (labelled,) = ({row[key] for row in rows} for key in ("ratio", "labelled"))
    methods = _by_method(rows)
    baseline = methods.get(BASELINE, {})
    scored = ["test mIoU", f"over {BASELINE}", "val mIoU"] if has_both else ["mIoU", f"over {BASELINE}"]
    header = [f"{labelled} labels ({ratio})", *scored, "CPU-minutes", "folds"]
    lines = []
    for name, own in methods.items():
        gain = _gain(own, baseline) if name != BASELINE else None
        val = [spread([row["val"]["miou"] for row in own.values()])] if has_both else []
        folds = " ".join(str(row["fold"]) for row in own.values())
        test = spread([_test(row) for row in own.values()])
        lines.append([name, test, gain_text(gain) if gain else "", *val, _minutes(own), folds])
    return markdown((header, lines))


def _by_method(rows: Sequence[Row]) -> dict[str, dict[tuple[int, int], Row]]:
    """The rows of each method by fold and seed, from the lowest to the highest score."""
    return {method: {_pair(row): row for row in rows if row["method"] == method} for method in _names(rows)}


def _gain(own: Mapping[tuple[int, int], Row], baseline: Mapping[tuple[int, int], Row]) -> Gain | None:
    differences = [_test(row) - _test(baseline[pair]) for pair, row in own.items() if pair in baseline]
    return paired_gain(differences) if differences else None


def _minutes(rows: Mapping[tuple[int, int], Row]) -> str:
    if not rows:
        return ""
    half = {row["precision"] for row in rows.values()} == {"bfloat16"}
    return f"{statistics.fmean(row['cpu_minutes'] for row in rows.values()):.0f}{'*' if half else ''}"


def _names(rows: Sequence[Row]) -> list[str]:
    names = {row["method"] for row in rows}
    return sorted(names, key=lambda name: statistics.fmean(_test(row) for row in rows if row["method"] == name))


def _pair(row: Row) -> tuple[int, int]:
    return row["fold"], row["seed"]


def _test(row: Row) -> float:
    return row["test"]["miou"]


def made_with(rows: Sequence[Row], *, gains: bool) -> str:
    """What the figures are, machine and versions."""
    facts = set()
    for row in rows:
        versions = f"Python {row['versions']['python']}, torch {row['versions']['torch']}"
        facts.add(f"{row['processor']}, threads: {row['threads']}, {versions}")
    paired = (
        "; gains in points: mean over the same folds [95 % confidence interval], p of a paired t-test, folds won"
        if gains
        else ""
    )
    precisions = {row["precision"] for row in rows}
    computed = (
        "*: computed in bfloat16, the others in float32" if len(precisions) > 1 else f"Computed in {precisions.pop()}"
    )
    return (
        "mIoU in percent by the last weights, mean of the networks, ± standard deviation over folds"
        f"{paired}. {computed}. Measured on {'; '.join(sorted(facts))}.\n"
    )


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG: one line per method, with the standard deviation over folds; methods named at the right.

    Args:
        rows: With `method`, `labelled` and `test.miou`.
        path: The file.
    """
    figure = Figure(figsize=(6.4, 4.0), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(dict.fromkeys(row["method"] for row in rows))
    colors = method_colors([name.partition(" ")[0] for name in names])
    for name in names:
        method = name.partition(" ")[0]
        counts = sorted({row["labelled"] for row in rows if row["method"] == name})
        scores = [[100 * r["test"]["miou"] for r in rows if (r["method"], r["labelled"]) == (name, n)] for n in counts]
        means = [statistics.fmean(of) for of in scores]
        spreads = [statistics.stdev(of) if len(of) > 1 else 0.0 for of in scores]
        style: dict[str, Any] = {"color": colors[method], "marker": method_marker(method), "markersize": 6}
        axes.errorbar(counts, means, spreads, capsize=3, elinewidth=1, linewidth=1.8, label=name, **style)
    labels = sorted({row["labelled"] for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(labels, [f"{count:,}" for count in labels])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labelled images", color=INK)
    axes.set_ylabel("mIoU on test images, %", color=INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1:])
