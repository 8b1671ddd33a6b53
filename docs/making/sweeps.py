"""Makes tables of scores in docs/results.md, and docs/pictures/sweep.png, from the runs of sweeps.

python docs/making/sweeps.py NAME          runs what is missing of a sweep in sweeps/NAME, then writes its part
python docs/making/sweeps.py NAME FOLDER   writes it from the runs in FOLDER
"""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dmtc.config.compose import compose
from dmtc.engine.checks import settle
from dmtc.report.sweeps import write_sweep_report
from dmtc.report.sweeps.finding import RunRecord, read_runs
from dmtc.report.sweeps.grouping import group
from dmtc.report.sweeps.sweep_tables import SHORT, details, markdown

ROOT = Path(__file__).parents[2]
END = "<!-- end -->"


@dataclass(frozen=True)
class Sweep:
    """One table of a page.

    Attributes:
        name: Its name, in the marks around it.
        commands: The shell commands that run it.
        baselines: Methods that gains are measured against.
        picture: The figure above the table, below docs.
    """

    name: str
    commands: tuple[str, ...]
    baselines: tuple[str, ...]
    picture: str | None = None

    @property
    def begin(self) -> str:
        """The mark before it."""
        return f"<!-- made by docs/making/sweeps.py {self.name} -->"

    @property
    def folder(self) -> str:
        """Where its runs are."""
        return f"sweeps/{self.name}"


_CAMVID = "dmtc -m experiment=dmtc_camvid_1_8 dataset.root=$CAMVID model.weights.a=$WEIGHTS model.weights.b=$WEIGHTS"
SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            "builtin",
            ("dmtc -m method=supervised,supervised_long,cbst,dst,dmt,dmtc seed=0,1,2 hydra.sweep.dir=sweeps/builtin",),
            ("supervised", "supervised_long"),
        ),
        Sweep(
            "online",
            (
                "dmtc -m method=supervised,supervised_long,dmt,dmtc,cutmix,cps_cutmix,fixmatch,fixmatch_ema,"
                "unimatch,unimatch_v2,reco seed=0,1,2 schedule.start.steps=150 schedule.rounds.steps=50"
                " hydra.sweep.dir=sweeps/online",
            ),
            ("supervised", "supervised_long"),
        ),
        Sweep(
            "camvid",
            (
                f"{_CAMVID} method=supervised_long,dmt,dmtc seed=0,1,2 hydra.sweep.dir=sweeps/camvid",
                f"{_CAMVID} method=supervised_long split.ratio=full seed=0 hydra.sweep.dir=sweeps/camvid",
            ),
            ("supervised_long",),
        ),
        Sweep(
            "ratios",
            (
                "dmtc -m method=supervised,dmt,dmtc split.ratio=1/20,1/8,1/4 seed=0,1 hydra.sweep.dir=sweeps/ratios",
                "dmtc -m method=supervised split.ratio=full seed=0,1 hydra.sweep.dir=sweeps/ratios",
            ),
            ("supervised",),
            picture="pictures/sweep.png",
        ),
    )
}


def with_sweep(page: str, sweep: Sweep, folder: Path) -> str:
    """The page with its part between the sweep's marks made anew."""
    before, _, rest = page.partition(sweep.begin)
    _, _, after = rest.partition(END)
    return f"{before}{sweep.begin}\n\n{part(sweep, folder)}\n{END}{after}"


def part(sweep: Sweep, folder: Path) -> str:
    """Picture, table, and with what they were made.

    Raises:
        SystemExit: The runs are not of one data set, scored in one way.
    """
    job = settle(compose(["job=report"]))["job"]
    records = read_runs(folder)
    panels, _ = group(records, job["over"], sweep.baselines)
    if len(panels) != 1:
        raise SystemExit(f"{folder} holds {len(panels)} tables, and a page shows one")
    finished = [record for record in records if record.state == "finished"]
    picture = [f"![mIoU against the number of labelled images]({sweep.picture})", ""] if sweep.picture else []
    lines = [
        *picture,
        markdown(details(panels[0], sweep.baselines, job["over"])),
        f"mIoU in percent, ± standard deviation; {SHORT}. Measured on {_made_with(finished)}.",
        f"Made by `python docs/making/sweeps.py {sweep.name}`, which runs",
        "",
        "```",
        *sweep.commands,
        "```",
    ]
    return "\n".join(lines)


def _made_with(runs: list[RunRecord]) -> str:
    """Machine and versions; all of them, if runs differ."""
    facts = [run.results.get("environment") or {} for run in runs]
    devices = {"GPU" if str(run.results["device"]).startswith("cuda") else "CPU" for run in runs}
    of = [
        {str(fact.get("processor")) if devices == {"CPU"} else str(fact.get("device")) for fact in facts},
        {_count(fact.get("threads"), "thread") for fact in facts} if devices == {"CPU"} else set(),
        {f"Python {fact.get('python')}" for fact in facts},
        {f"torch {(fact.get('packages') or {}).get('torch')}" for fact in facts},
        {f"commit {str(run.results.get('commit'))[:10]}" for run in runs},
    ]
    return ", ".join(" or ".join(sorted(values)) for values in of if values)


def _count(number: object, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"


def main(arguments: list[str]) -> None:
    """See the head of this file."""
    if not arguments or arguments[0] not in SWEEPS:
        raise SystemExit(f"which sweep? {', '.join(SWEEPS)}")
    sweep = SWEEPS[arguments[0]]
    page_path = ROOT / "docs" / "results.md"
    folder = Path(arguments[1]) if len(arguments) > 1 else ROOT / sweep.folder
    if len(arguments) == 1:
        for command in sweep.commands:
            given = [os.path.expandvars(argument) for argument in shlex.split(command)[1:]]
            subprocess.run([sys.executable, "-m", "dmtc", *given], cwd=ROOT, check=True)
    if sweep.picture:
        over = settle(compose(["job=report"]))["job"]["over"]
        _, page = write_sweep_report(folder, over, sweep.baselines)
        (page_path.parent / sweep.picture).write_bytes((page.parent / "report" / "miou.png").read_bytes())
    page_path.write_text(with_sweep(page_path.read_text("utf-8"), sweep, folder), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
