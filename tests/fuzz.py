"""Commands on damaged files and with odd options, at random, for as long as one likes.

    python tests/fuzz.py --seconds 1800 --seed 0

Every try copies small data sets, runs, an export and pictures into a folder of its own, puts files of somebody else
beside them, damages some files or folders, changes some options, and carries a command out in a fork of this process,
which has torch imported. It fails on a traceback, on 20 seconds in which nothing happens, on a file that was changed or
removed but is not the command's, on an exit code other than 0, 1, 2, 130 or 143, on what is left half-written, and on
an error that is not told. A failure is printed with the line that repeats it; `--keep FOLDER` there keeps what is left.
"""

import argparse
import collections
import contextlib
import gc
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra._internal.hydra import Hydra
from matplotlib.figure import Figure

import dmtc
import dmtc.cli.jobs
import dmtc.cli.main
import dmtc.config.compose
import dmtc.export
from dmtc.core.errors import UserError

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from fuzz_attempts import NETWORK, Attempt, changed_options, drawn, paths_of
from fuzz_damage import damaged
from fuzz_world import made, with_foreign_files
from stopped_runs import stop_at

IDLE, BUSY = 20.0, 40.0
"""Seconds after which a command that does nothing, or one that computes all the time, is said to hang."""
CODES = {0, 1, 2, 130, 143}
_CRASHES = (
    "Traceback (most recent call last)",
    "Fatal Python error",
    "terminate called",
    "AssertionError",
    "core dumped",
)


@dataclass
class Tried:
    """One try and what is wrong about it."""

    attempt: Attempt
    arguments: list[str]
    damage: list[str]
    code: int = 0
    output: str = ""
    faults: list[str] = field(default_factory=list)


def keys_of(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all options that are tried at random."""
    if isinstance(config, dict) and config:
        return [key for name, value in config.items() for key in keys_of(value, f"{prefix}{name}.")]
    name = prefix.removesuffix(".")
    return [] if any(part in name for part in NETWORK) else [name]


def what_lies_in(place: Path) -> dict[str, str]:
    """Everything below a folder: what it is, and a hash of what it holds."""
    found = {}
    for folder, folders, files in os.walk(place):
        for name in [*folders, *files]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                content = os.readlink(path)
            elif stat.S_ISREG(mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = str(stat.S_IFMT(mode))
            found[str(path.relative_to(place))] = content
    return found


def _in_child(arguments: list[str], place: Path, output: Path, stop: tuple | None, python: bool) -> int:
    os.setpgid(0, 0)
    os.environ |= {"HOME": str(place / "home"), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 << 20, 200 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(place)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if stop is not None:
        stop_at(*stop, group=False)
    if python:
        try:
            dmtc.Segmenter.from_pretrained(arguments[0]).predict(torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
        except UserError as error:
            print(f"error: {error}")
            return 2
        return 0
    try:
        dmtc.cli.main.main(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def forked(arguments: list[str], place: Path, output: Path, stop: tuple | None = None, python: bool = False) -> int:
    """Start a command in a fork; its process number."""
    child = os.fork()
    if not child:
        code = 70
        try:
            code = _in_child(arguments, place, output, stop, python)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


def _processor_seconds(group: int) -> float:
    """Of all processes of a group that are there now."""
    total = 0.0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if int(fields[2]) == group else 0
    return total


def ended(child: int, signum: int | None, after: float) -> tuple[int, str | None]:
    """Wait for a command: its exit code, and how it hung, if it did. Perhaps signal it meanwhile."""
    begun = moved = time.monotonic()
    spent, fault, asked = 0.0, None, False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        now = time.monotonic()
        if not pid and signum is not None and now - begun > after:
            os.kill(child, signum)
            signum = None
        if not pid and now - begun > 3:
            if (processor := _processor_seconds(child)) > spent + 0.02:
                spent, moved = processor, now
            if spent > BUSY and not asked:
                os.kill(
                    child, signal.SIGTERM
                )  # a run that is longer than it should be ends with this; what hangs does not
                asked = True
            fault = f"hangs: nothing happened for {IDLE} s" if now - moved > IDLE else fault
            fault = f"hangs: busy for {spent:.0f} s, and heeds no signal" if spent > 2 * BUSY else fault
        if pid or fault:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            if not pid:
                status = os.waitpid(child, 0)[1]
            return os.waitstatus_to_exitcode(status), fault
        time.sleep(0.01)


def tried(number: int, seed: int, world: Path, place: Path, keys: list[str]) -> Tried:
    """One try, by its number alone."""
    chance = random.Random(f"{seed}/{number}")
    shutil.copytree(world, place, symlinks=True)
    attempt = drawn(chance)
    others = sorted(path for path in place.rglob("*") if path.is_file())
    here = os.getcwd()
    os.chdir(place)
    try:
        damage = []
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            if paths := paths_of(attempt, Path()):
                damage.append(damaged(chance.choice(paths), chance, [path.relative_to(place) for path in others]))
        foreign = with_foreign_files(Path(), chance)
    finally:
        os.chdir(here)
    arguments = [*changed_options(attempt, keys, chance), *attempt.arguments]
    if arguments[0] not in ("-m", "--help") and "-m" in arguments:
        arguments = ["-m", *(argument for argument in arguments if argument != "-m")]
    signum = chance.choice([signal.SIGINT, signal.SIGTERM]) if chance.random() < 0.05 else None
    before = what_lies_in(place)
    output = place.with_name("output.txt")
    child = forked(arguments, place, output, python=attempt.name == "segmenter")
    code, hung = ended(child, signum, chance.uniform(0.3, 1.5))
    result = Tried(attempt, arguments, damage, code, output.read_text(errors="replace"))
    result.faults = [hung] if hung else []
    result.faults += faults_of(result, foreign, before, what_lies_in(place), signum is not None)
    killed = code in (-signal.SIGINT, -signal.SIGTERM)  # before it could heed anything
    result.faults += [] if killed else half_written(place, before)
    return result


def faults_of(result: Tried, foreign: dict, before: dict, after: dict, signalled: bool) -> list[str]:
    """What is wrong about how a command ended and what it did to files that are not its own."""
    found = []
    if result.code not in CODES and not (signalled and result.code in (-signal.SIGINT, -signal.SIGTERM)):
        found.append(f"exit code {result.code}")
    if crash := next((word for word in _CRASHES if word in result.output), None):
        found.append(f"crash: {crash}")
    if result.code in (1, 2) and not result.output.strip():
        found.append("an error that is not told")
    for name, content in before.items():
        # A folder of its own may have become a link to where it was moved: it is its own there, too.
        beginnings = [one for own in result.attempt.owns for one in (own, f"{own.rstrip('/')}-moved/")]
        own = name not in foreign and name.startswith(tuple(beginnings))
        if after.get(name) != content and not own:
            found.append(f"{'changed' if name in after else 'removed'}: {name}")
    return found


def half_written(place: Path, before: dict) -> list[str]:
    """New files that nobody can read, or that bear the name of what is not done yet."""
    found = []
    for name in sorted(set(what_lies_in(place)) - set(before)):
        path = place / name
        if path.suffix == ".part":
            found.append(f"left over: {name}")
        elif path.is_file():
            readers = {".json": json.loads, ".yaml": yaml.safe_load}
            try:
                readers.get(path.suffix, len)(path.read_bytes())
            except Exception as error:
                found.append(f"unreadable: {name} ({error})")
    return found


def told(result: Tried, number: int, seed: int) -> str:
    """A failure for a person."""
    command = "dmtc.Segmenter.from_pretrained" if result.attempt.name == "segmenter" else "python run.py"
    lines = [f"FAILED: {'; '.join(result.faults[:5])}", f"  again: python tests/fuzz.py --seed {seed} --only {number}"]
    lines += [f"  damaged: {damage!r}" for damage in result.damage]
    lines += [f"  {command} {' '.join(map(repr, result.arguments))}"]
    return "\n".join([*lines, *(f"  | {line[:300]}" for line in result.output.splitlines()[-12:])])


def signature(result: Tried) -> str:
    """What failures of one cause have in common."""
    places = re.findall(r'File ".*?/(dmtc/[\w/]+\.py)", line (\d+)', result.output)
    error = re.findall(r"^([\w.]+(?:Error|Exception|Interrupt))\b", result.output, re.MULTILINE)
    kinds = sorted({fault.partition(":")[0] for fault in result.faults})
    return f"{kinds} {error[-1:]} {places[-1:]}" if error else f"{kinds} {result.attempt.name}"


def main() -> None:
    """Try, tell and count; leaves with 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one try")
    parser.add_argument("--keep", type=Path, help="a new folder for what that try leaves")
    parser.add_argument("--all", action="store_true", help="also tell failures that look like an earlier one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()  # what torch imports when it is needed
    for form in ("png", "svg"):  # likewise
        Figure().savefig(io.BytesIO(), format=form)
    keys = keys_of(dmtc.engine.checks.settle(dmtc.compose()))
    keys += [
        f"job.{key}"
        for key in ("output", "network", "checkpoint", "flip", "scales", "resize", "opacity", "layout", "shown")
    ]
    Hydra.get_mode = lambda *_, **__: None  # it composes every config twice, to see whether it asks for a sweep
    begun, codes, jobs, failures, number = time.monotonic(), collections.Counter(), collections.Counter(), [], 0
    with tempfile.TemporaryDirectory() as temporary:
        room = Path(temporary).resolve()
        world = room / "world"
        world.mkdir()
        made(world, lambda arguments, stop: ended(forked(arguments, world, room / "output.txt", stop), None, 0)[0])
        gc.collect()
        gc.freeze()  # or the collector would copy in every fork what all of them share
        begun = time.monotonic()
        numbers = [options.only] if options.only is not None else iter(int, 1)
        for number, only in enumerate(numbers, 1):
            result = tried(only if options.only is not None else number - 1, options.seed, world, room / "try", keys)
            codes[result.code] += 1
            jobs[result.attempt.name] += 1
            if options.only is not None:
                print(told(result, only, options.seed))
                print(result.output)
            elif result.faults:
                new = signature(result) not in map(signature, failures)
                print(
                    told(result, number - 1, options.seed) if new or options.all else f"again: {signature(result)}",
                    flush=True,
                )
            failures += [result] if result.faults else []
            if options.keep:
                shutil.copytree(room / "try", options.keep, symlinks=True)
            shutil.rmtree(room / "try")
            if time.monotonic() - begun > options.seconds:
                break
    kinds = len(set(map(signature, failures)))
    print(
        f"seed {options.seed}: {number} tries in {time.monotonic() - begun:.0f} s, {dict(sorted(jobs.items()))},"
        f" exit codes {dict(sorted(codes.items()))}: {len(failures)} failures of {kinds} kinds"
    )
    sys.stdout.flush()
    os._exit(bool(failures))  # without what torch's compiler says about itself at a regular exit


if __name__ == "__main__":
    main()
