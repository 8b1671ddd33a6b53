"""Writes what benchmarks/results holds into docs/benchmarks.md: `python benchmarks/table.py`."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- made by benchmarks/table.py -->", "<!-- end -->"
PARTS = {
    "contrast": "regional contrast, forward and backward",
    "step": "whole training step",
    "labelling": "labelling",
    "loader": "reading a training crop",
    "loader_process": "the same through a loader process",
    "views": "a weak and a strong view of decoded images",
    "startup_help": "start of `dmtc --help`",
    "startup_plan": "start of `dmtc job=plan`",
}
"""What each result file measures, in the order of the table; others follow under their own names."""

Record = Mapping[str, Any]


def main() -> None:
    """Write the page anew."""
    page = ROOT / "docs" / "benchmarks.md"
    page.write_text(replaced(page.read_text("utf-8"), tables(read(RESULTS))), "utf-8")


def read(folder: Path) -> dict[str, Record]:
    """The records of a folder by name, in the table's order."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    return {name: found[name] for name in [*PARTS, *found] if name in found}


def replaced(page: str, text: str) -> str:
    """The page with its part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def tables(records: Mapping[str, Record]) -> str:
    """Everything: the parts against the published code, whole recipes, how the cost grows, and who measured it."""
    compared = {name: record for name, record in records.items() if "times_faster" in record and "cost" not in record}
    recipes = {name: record for name, record in records.items() if "stages" in record}
    letters = letters_of(records)
    blocks = []
    if compared:
        columns = ["part", "setting", "ours", "published", "times faster", "peak memory, ours and published"]
        rows = [[*row, letters[name]] for name, record in compared.items() for row in rows_of(name, record)]
        blocks += [markdown([*columns, "by"], rows), *notes(compared)]
    blocks += [online_note(record, letters[name]) for name, record in records.items() if "cost" in record]
    blocks += [bare_table(records["bare"], letters["bare"])] if "bare" in records else []
    blocks += [recipe_table(recipes, letters)] if recipes else []
    blocks += [at_once_table(records["runs_at_once"], letters["runs_at_once"])] if "runs_at_once" in records else []
    blocks += [processes_table(records["processes"], letters["processes"])] if "processes" in records else []
    blocks += [many_table(records["many"], letters["many"])] if "many" in records else []
    blocks += [gpu_table(records["gpu"], letters["gpu"])] if "gpu" in records else []
    blocks.append(gpu_line(records))
    blocks += [scaling_table(records["scaling"])] if "scaling" in records else []
    blocks.append(machines(records) if records else "Nothing is measured yet: `bash benchmarks/all.sh`.")
    return "\n\n".join(blocks)


def rows_of(name: str, record: Record) -> Iterator[list[str]]:
    """Part, setting, ours, published, times faster and memory: a row for each pair of contenders, and for the disk."""
    part, setting, medians = PARTS.get(name, name), setting_text(record["setting"]), record["median_seconds"]
    images, memory = record["setting"].get("images"), record.get("peak_bytes") or {}
    published = [other for other in medians if not other.startswith("ours")]
    for mine in [each for each in medians if each.startswith("ours")]:
        title = part + mine.removeprefix("ours")
        for other in published or [None]:
            against = "-" if other is None else f"{other}: {time_text(medians[other], images)}"
            faster = "-" if other is None else f"{medians[other] / medians[mine]:.1f}"
            sizes = [size_text(memory[each]) for each in (mine, other) if each in memory]
            yield [title, setting, time_text(medians[mine], images), against, faster, ", ".join(sizes) or "-"]
    disk = record.get("bytes_on_disk") or {}
    for other in [other for other in published if other in disk]:
        smaller = f"{disk[other] / disk['ours']:.1f} times smaller"
        yield [f"{part}, on disk", setting, size_text(disk["ours"]), f"{other}: {size_text(disk[other])}", smaller, "-"]


def notes(compared: Mapping[str, Record]) -> Iterator[str]:
    """What a table of times does not show."""
    for record in compared.values():
        if shares := record.get("shares"):
            told = ", ".join(f"{share:.1%} {name}" for name, share in shares.items())
            yield f"The training step is {told} (everything outside the other three)."


def online_note(record: Record, letter: str) -> str:
    """The cost of labelling within the step."""
    cost, setting = record["cost"], record["setting"]
    return (
        f"A step of `fixmatch_ema` takes {cost['over_supervised']:.2f} times as long as one of `supervised` with the "
        f"same number of student images ({setting_text(setting)}; {letter}): the teacher's pass is"
        f" {percent(cost['teacher'])} of it, mixing and colors {percent(cost['mixing_and_colors'])}."
    )


def bare_table(record: Record, letter: str) -> str:
    """Whole training over a plain loop."""
    columns = ["training", "precision", "backbone", "images/s", "plain loop, images/s", "ratio"]
    rows = []
    for row in record["rows"]:
        figures = [f"{row[name]:.1f}" for name in ("library_images_per_s", "bare_images_per_s")]
        backbone = "trained" if row["tuning"] == "full" else row["tuning"]
        rows.append([row["method"], row["precision"], backbone, *figures, f"{row['ratio']:.2f}"])
    return (
        f"Whole training and a plain loop ({setting_text(record['setting'])}; {letter}):\n\n{markdown(columns, rows)}"
    )


def at_once_table(record: Record, letter: str) -> str:
    """Runs at once over the same runs one after the other."""
    ways = list(record["rows"][0]["ratios"])
    rows = [[str(row["runs"]), *(f"{row['ratios'][way]:.2f}" for way in ways)] for row in record["rows"]]
    told = f"Time of runs at once over that of the same runs one after the other ({letter}):"
    return f"{told}\n\n{markdown(['runs', *ways], rows)}"


def processes_table(record: Record, letter: str) -> str:
    """Two processes over one."""
    columns = ["backbone", "one process, images/s", "two, images/s", "ratio"]
    rows = []
    for row in record["rows"]:
        figures = [f"{statistics.median(rates):.1f}" for rates in row["images_per_s"].values()]
        rows.append(["trained" if row["tuning"] == "full" else row["tuning"], *figures, f"{row['ratio']:.2f}"])
    told = f"One run by one and by two processes of one thread ({setting_text(record['setting'])}; {letter}):"
    return f"{told}\n\n{markdown(columns, rows)}"


def many_table(record: Record, letter: str) -> str:
    """How whole commands grow."""
    rows = [
        [f"`{row['command']}`", f"{row['count']:,} {row['of']}", f"{row['seconds']:.1f}", size_text(row["peak_bytes"])]
        for row in record["rows"]
    ]
    return f"Whole commands ({letter}):\n\n{markdown(['command', 'on', 'seconds', 'peak memory'], rows)}"


def gpu_table(record: Record, letter: str) -> str:
    """Whole training on a GPU over a plain loop."""
    columns = [
        "training",
        "network",
        "crop",
        "images/s",
        "plain loop, images/s",
        "ratio",
        "peak memory",
        "waits per step",
    ]
    rows = []
    for row in record["rows"]:
        figures = [f"{row[name]:.0f}" for name in ("library_images_per_s", "bare_images_per_s")]
        rest = [f"{row['ratio']:.2f}", size_text(row["peak_bytes"]), f"{row['waits_per_step']:.1f}"]
        rows.append([row["method"], row["network"], str(row["crop"]), *figures, *rest])
    return f"On a GPU ({setting_text(record['setting'])}; {letter}):\n\n{markdown(columns, rows)}"


def recipe_table(recipes: Mapping[str, Record], letters: Mapping[str, str]) -> str:
    """Whole recipes as `job=benchmark` measures them."""
    columns = ["recipe", "device", "share of the matrix rate", "contrast adds", "labelling", "scoring", "all", "by"]
    rows = []
    for name, record in recipes.items():
        steps = [
            f"{stage['stage']}, {step['images']} images: {percent(step['share_of_matrix_rate'])}"
            for stage in record["stages"]
            for step in stage["steps"]
        ]
        added = [percent(stage["embedding_adds"]) for stage in record["stages"] if stage["embedding_adds"] is not None]
        hours = "-" if record["seconds"] is None else f"{record['seconds'] / 3600:,.1f} h"
        device = f"{record['environment']['device']}, {record['precision']}"
        passes = [percent((record[each] or {}).get("efficiency")) for each in ("labelling", "evaluation")]
        rows.append([f"`{record['recipe']}`", device, "; ".join(steps), ", ".join(added) or "-", *passes, hours])
        rows[-1].append(letters[name])
    told = (
        "Labelling and scoring: speed relative to plain inference of the same images. All: projected from these parts."
    )
    return f"{markdown(columns, rows)}\n\n{told}"


def gpu_line(records: Mapping[str, Record]) -> str:
    """Says so if no result comes from a GPU."""
    if any(on_gpu(record) for record in records.values()):
        return "Figures of a GPU have its name beside the processor's; all others are of the CPU."
    return "Not measured on a GPU: none was available. On a machine with one, `bash benchmarks/gpu.sh` does it."


def on_gpu(record: Record) -> bool:
    """Whether a record was measured on a GPU."""
    return record["environment"]["device"] != "cpu"


def scaling_table(record: Record) -> str:
    """Slopes on logarithmic axes, and the pictures."""
    rows = [
        [page, sweep["factor"], sweep["fixed"], span(sweep), f"{sweep['slope']:.2f}", f"{sweep['last_slope']:.2f}"]
        for page, sweeps in record["pages"].items()
        for sweep in sweeps
    ]
    columns = ["cost of", "against", "with", "seconds", "slope", "between the last two"]
    pictures = [
        f"![cost of {page}](../benchmarks/results/scaling_{page.replace(' ', '_')}.png)" for page in record["pages"]
    ]
    return "\n\n".join([markdown(columns, rows), *pictures])


def span(sweep: Record) -> str:
    """The first and the last point."""
    values, seconds = sweep["values"], sweep["seconds"]
    return f"{seconds[0]:.2g} at {values[0]:,}, {seconds[-1]:.2g} at {values[-1]:,}"


def letters_of(records: Mapping[str, Record]) -> dict[str, str]:
    """A letter for each machine and state of the code, by record."""
    lines = list(dict.fromkeys(machine_of(record) for record in records.values()))
    return {name: chr(ord("a") + lines.index(machine_of(record))) for name, record in records.items()}


def machines(records: Mapping[str, Record]) -> str:
    """Which machine, versions and commit each letter stands for."""
    lines = dict.fromkeys(machine_of(record) for record in records.values())
    return "\n".join(f"- {chr(ord('a') + number)}: {line}" for number, line in enumerate(lines))


def machine_of(record: Record) -> str:
    """Machine, versions, commit and day of a record, and what was wrong with the circumstances."""
    e = record["environment"]
    device = f"{e['device']} beside " if on_gpu(record) else ""
    doubts = ", with changes that were not committed" * bool(e["uncommitted_changes"])
    doubts += ", while other work ran" * (e["load_before"] > 1.5 * e["cores"])
    versions = f"Python {e['python']}, torch {e['packages']['torch']}"
    hardware = f"{device}{e['processor']}, cores: {e['cores']}, threads: {e['threads']}"
    return f"{hardware}; {versions}; commit {(e['commit'] or 'unknown')[:10]}{doubts}; {record['date']}"


def setting_text(setting: Record) -> str:
    """The setting of a benchmark in words."""
    words = []
    for key, value in setting.items():
        text = "x".join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(text if isinstance(value, str) else f"{key.replace('_', ' ')} {text}")
    return ", ".join(words)


def time_text(seconds: float, images: int | None) -> str:
    """Three digits, per image if there are several."""
    each = seconds / images if images else seconds
    text = f"{each:.3g} s" if each >= 1 else f"{1000 * each:.3g} ms"
    return f"{text} per image" if images else text


def size_text(count: int) -> str:
    """Three digits in MB or GB."""
    return f"{count / 10**9:.3g} GB" if count >= 10**9 else f"{count / 10**6:.3g} MB"


def percent(share: float | None) -> str:
    """A share, without digits."""
    return "-" if share is None else f"{share:.0%}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *rows])


if __name__ == "__main__":
    main()
