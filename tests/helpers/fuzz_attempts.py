"""Commands to try: each with what may be wrong with its files and options, and which files it may change."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_damage import TYPED
from fuzz_world import FOLDER, SYNTHETIC

JOBS = ["plan", "check", "train", "evaluate", "predict", "export", "report", "benchmark"]
QUIET = ["run.progress=off"]
ON_CPU = [*QUIET, "run.device=cpu"]
NETWORK = ("weights", "push", "logger", "imports", "backbone.arch", "hydra", "workers", "compile", "parallel_students")
"""Parts of keys that would reach for the internet, for processes or for minutes; they have tests of their own."""


@dataclass
class Attempt:
    """A command, before anything goes wrong.

    Attributes:
        name: What it is.
        arguments: Of the command line.
        damage: Files and folders that may be damaged, as patterns.
        owns: Beginnings of paths that the command may change or remove, where they are not somebody else's.
        options: Whether some options may be changed at random.
    """

    name: str
    arguments: list[str]
    damage: list[str]
    owns: list[str] = field(default_factory=list)
    options: bool = True


def plan(chance: random.Random) -> Attempt:
    """Of any data set, with any settings."""
    start = chance.choice([["dataset.root=data"], FOLDER, ["--config-dir=settings", "experiment=mine"], SYNTHETIC])
    lists = [] if chance.random() < 0.7 else ["split=files", "split.labelled=lists/labelled.txt"]
    return Attempt(
        "plan", ["job=plan", *start, *lists, *ON_CPU], ["own", "own/**/*", "settings/**/*", "lists/*"], ["data/"]
    )


def check(chance: random.Random) -> Attempt:
    """Of a folder."""
    advice = f"job.advice={chance.choice(['true', 'false', 'false'])}"
    return Attempt("check", ["job=check", *FOLDER, advice, *ON_CPU], ["own", "own/**/*", "own/**/*"])


def train(chance: random.Random) -> Attempt:
    """On a folder or on the built-in set, into a new folder or into one that is there."""
    folder = chance.choice(["out", "out", "new/deep", "runs/own", "own", "."])
    data = chance.choice([FOLDER, FOLDER, SYNTHETIC])
    method = chance.choice(["method=supervised", "method=dmt", "method=dmtc", "method=flip", "method=online"])
    more = chance.choice(
        [[], [], ["run.image_cache=cache"], ["run.report=true"], ["logger=csv"], ["dataset.on_error=skip"]]
    )
    arguments = [*data, method, "schedule.limit_steps=1", *more, f"hydra.run.dir={folder}", *ON_CPU]
    return Attempt("train", arguments, ["own", "own/**/*", "own/**/*"], ["data/", "runs/own/"])


def resume(chance: random.Random) -> Attempt:
    """Of a run that was killed, or of a finished one."""
    run = chance.choice(["stopped", "stopped", "finished", "own"])
    damage = [f"runs/{run}", f"runs/{run}/*", f"runs/{run}/**/*"]
    return Attempt("resume", [f"resume=runs/{run}", "run.progress=off"], damage, [f"runs/{run}/", "data/"], False)


def evaluate(chance: random.Random) -> Attempt:
    """Under a protocol."""
    run = chance.choice(["finished", "own", "stopped"])
    protocol = chance.choice(
        [[], ["evaluation=sliding", "evaluation.crop=[16,16]"], ["job.protocols=[original,padded]"]]
    )
    damage = [f"runs/{run}/*", f"runs/{run}/**/*", "own/**/*"]
    arguments = ["job=evaluate", f"run=runs/{run}", *protocol, *ON_CPU]
    return Attempt("evaluate", arguments, damage, [f"runs/{run}/evaluation", "data/"])


def predict(chance: random.Random) -> Attempt:
    """Of pictures and a video."""
    run = chance.choice(["finished", "own"])
    output = chance.choice(["out", "out", "predicted", "predicted", "pictures", "new/deep"])
    write = chance.choice([[], ["job.write=[overlay]"], ["job.write=[index,probabilities]"], ["job.layout=voc"]])
    existing = chance.choice([[], ["job.existing=skip"], ["job.existing=replace"]])
    given = chance.choice(["pictures", "pictures", "pictures/clip.mp4", "pictures/**/*.png"])
    arguments = ["job=predict", f"run=runs/{run}", f"input={given}", f"output={output}", *write, *existing, *ON_CPU]
    damage = [
        "pictures",
        "pictures/*",
        "pictures/*",
        f"runs/{run}/*",
        f"runs/{run}/phases/*/*",
        "predicted",
        "predicted/**/*",
    ]
    return Attempt("predict", arguments, damage, ["predicted/"])


def export(chance: random.Random) -> Attempt:
    """In a format that takes no long time."""
    run = chance.choice(["finished", "own"])
    output = chance.choice(["out", "exported", "exported", f"runs/{run}", "new/deep"])
    form = chance.choice(["safetensors", "safetensors", "safetensors", "torchscript", "x"])
    damage = [f"runs/{run}/*", f"runs/{run}/**/*", "exported", "exported/*"]
    arguments = ["job=export", f"run=runs/{run}", f"format={form}", f"output={output}", *QUIET]
    return Attempt("export", arguments, damage, ["exported/"])


def report(chance: random.Random) -> Attempt:
    """Of one run."""
    run = chance.choice(["finished", "finished", "own", "stopped"])
    out = chance.choice([[], [], ["job.out=out"], ["job.out=own"]])
    damage = [f"runs/{run}/*", f"runs/{run}/**/*", "own/**/*"]
    owns = [f"runs/{run}/{name}" for name in ("report", "pictures", ".dmtc-report")] if not out else []
    return Attempt("report", ["job=report", f"run=runs/{run}", *out, *ON_CPU], damage, [*owns, "data/"])


def report_of_runs(chance: random.Random) -> Attempt:
    """Of all runs below a folder."""
    out = chance.choice([[], ["job.out=out"]])
    return Attempt(
        "report runs", ["job=report", "runs=runs", *out, *QUIET], ["runs/*", "runs/*/*", "runs/**/*"], ["data/"]
    )


def sweep(chance: random.Random) -> Attempt:
    """Of two short runs."""
    swept = chance.choice(["seed=0,1", "method=supervised,cbst", "seed=0,x", "dataset.root=own,nowhere", "tag=a,b"])
    given = [argument for argument in FOLDER if not swept.startswith("dataset.root") or argument != "dataset.root=own"]
    folder = chance.choice(["out", "new/deep", "runs"])
    arguments = [
        "-m",
        *given,
        "method=supervised",
        "schedule.limit_steps=1",
        swept,
        f"hydra.sweep.dir={folder}",
        *ON_CPU,
    ]
    return Attempt("sweep", arguments, ["own", "own/**/*"], ["data/"])


def benchmark(chance: random.Random) -> Attempt:
    """Of two steps."""
    arguments = ["job=benchmark", *FOLDER, "job.steps=1", "job.seconds=0.1", "job.batches=[]", *ON_CPU]
    output = chance.choice([[], ["job.output=out/x.json"], ["job.output=own"]])
    return Attempt("benchmark", [*arguments, *output], ["own", "own/**/*"])


def segmenter(chance: random.Random) -> Attempt:
    """Reading an export from Python."""
    return Attempt("segmenter", ["exported"], ["exported/*", "exported/*", "exported"], options=False)


def starting_weights(chance: random.Random) -> Attempt:
    """A run that starts from a file."""
    file = chance.choice(
        ["exported/model.safetensors", "runs/own/phases/r0-a/last.safetensors", "lists/labelled.txt", "own"]
    )
    arguments = [
        *FOLDER,
        "method=supervised",
        f"model.weights.a={file}",
        "schedule.limit_steps=1",
        "hydra.run.dir=out",
        *ON_CPU,
    ]
    return Attempt("starting weights", arguments, [file, file], options=False)


def nonsense(chance: random.Random) -> Attempt:
    """What a slip of the fingers makes."""
    words = [
        "--help",
        "job=",
        "=",
        "run=",
        "resume=",
        "jbo=plan",
        "job=plam",
        "+job.x=1",
        "~job",
        "--",
        "-m",
        "--cfg",
        "job",
        "x y",
    ]
    words += [
        "input=pictures",
        "output=out",
        "runs=runs",
        "run=runs/own",
        "dataset.root=own",
        "dataset=folder",
        "experiment=x",
        "é=1",
    ]
    return Attempt(
        "nonsense", chance.sample(words, chance.randrange(1, 4)) + ["job=plan"] * chance.randrange(2), ["own"]
    )


ATTEMPTS: list[tuple[int, Callable[[random.Random], Attempt]]] = [
    (5, plan), (4, check), (4, train), (5, resume), (4, evaluate), (5, predict), (3, export), (3, report),
    (3, report_of_runs), (1, sweep), (1, benchmark), (2, segmenter), (1, starting_weights), (2, nonsense),
]  # fmt: skip


def drawn(chance: random.Random) -> Attempt:
    """One of them."""
    weights, makers = zip(*ATTEMPTS, strict=True)
    return chance.choices(makers, weights)[0](chance)


def changed_options(attempt: Attempt, keys: list[str], chance: random.Random) -> list[str]:
    """Some options at random, in front of those that keep the command small."""
    chosen = []
    for _ in range(chance.choice([0, 0, 1, 1, 2]) if attempt.options else 0):
        key = chance.choice(keys)
        sign = chance.choice(["", "", "", "", "", "", "+", "~", "++"])
        chosen.append(f"{sign}{key}" if sign == "~" else f"{sign}{key}={chance.choice(TYPED)}")
    return chosen


def paths_of(attempt: Attempt, place: Path) -> list[Path]:
    """What may be damaged; a pattern that is given twice counts twice."""
    return [path for pattern in attempt.damage for path in sorted(place.glob(pattern))]
