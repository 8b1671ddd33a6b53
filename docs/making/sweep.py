"""Makes the sweep of the README: docs/pictures/sweep.png and the table, from runs on the built-in pictures.

python docs/making/sweep.py        carries out what is missing of the sweep in sweeps/ratios, then writes both
python docs/making/sweep.py DIR    writes both from the runs that lie in DIR
"""

import shlex
import subprocess
import sys
from pathlib import Path

from dmtc.config import compose, settle
from dmtc.report.sweeps import write_sweep_report
from dmtc.report.sweeps.grouping import group
from dmtc.report.sweeps.reading import RunRecord, read_runs
from dmtc.report.sweeps.tables import SHORT, details, markdown

ROOT = Path(__file__).parents[2]
README, PICTURE = ROOT / "README.md", ROOT / "docs" / "pictures" / "sweep.png"
BEGIN, END = "<!-- made by docs/making/sweep.py -->", "<!-- end -->"
FOLDER = "sweeps/ratios"
COMMANDS = (
    f"python run.py -m loss=supervised,dmt,dmtc split.ratio=1/20,1/8,1/4 seed=0,1 hydra.sweep.dir={FOLDER}",
    f"python run.py -m loss=supervised split.ratio=full seed=0,1 hydra.sweep.dir={FOLDER}",
)


def with_sweep(page: str, folder: Path) -> str:
    """The page with its part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{part(folder)}\n{END}{after}"


def part(folder: Path) -> str:
    """Picture, table, and with what they were made.

    Raises:
        SystemExit: The runs are not of one data set, scored in one way.
    """
    job = settle(compose(["job=report"]))["job"]
    records = read_runs(folder)
    panels, _ = group(records, job["over"], job["baselines"])
    if len(panels) != 1:
        raise SystemExit(f"{folder} holds {len(panels)} tables, and the README shows one")
    finished = [record for record in records if record.state == "finished"]
    lines = [
        "![mIoU against the number of labelled images](docs/pictures/sweep.png)",
        "",
        markdown(details(panels[0], job["baselines"], job["over"])),
        f"mIoU in percent, ± standard deviation; {SHORT}. Measured on {_made_with(finished)}.",
        "Made by `python docs/making/sweep.py`, which carries out",
        "",
        "```",
        *COMMANDS,
        "```",
    ]
    return "\n".join(lines)


def _made_with(runs: list[RunRecord]) -> str:
    """Machine and versions; more than one of them are told."""
    facts = [run.results.get("environment") or {} for run in runs]
    devices = {"GPU" if str(run.results["device"]).startswith("cuda") else "CPU" for run in runs}
    of = [
        {str(fact.get("processor")) if devices == {"CPU"} else str(fact.get("device")) for fact in facts},
        {f"{fact.get('threads')} threads" for fact in facts} if devices == {"CPU"} else set(),
        {f"Python {fact.get('python')}" for fact in facts},
        {f"torch {(fact.get('packages') or {}).get('torch')}" for fact in facts},
        {f"commit {str(run.results.get('commit'))[:10]}" for run in runs},
    ]
    return ", ".join(" or ".join(sorted(values)) for values in of if values)


def main(arguments: list[str]) -> None:
    """See the head of this file."""
    if not arguments:
        for command in COMMANDS:
            subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=ROOT, check=True)
    folder = Path(arguments[0]) if arguments else ROOT / FOLDER
    job = settle(compose(["job=report"]))["job"]
    _, page = write_sweep_report(folder, job["over"], job["baselines"])
    PICTURE.write_bytes((page.parent / "report" / "miou.png").read_bytes())
    README.write_text(with_sweep(README.read_text("utf-8"), folder), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
