"""How long `python run.py --help` and `job=plan` take to start, and which packages they wait for.

python benchmarks/startup.py
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from common import Contender, arguments, seconds, write

RUN = Path(__file__).parents[1] / "run.py"
COMMANDS = {"startup_help": ["--help"], "startup_plan": ["job=plan"]}


def main() -> None:
    """Measure both, each in fresh processes whose modules were compiled to bytecode before, as after a first start."""
    given = arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name, command in COMMANDS.items():
            measured = seconds({"ours": started(command, environment)}, given.repeats)
            setting = {"command": f"python run.py {' '.join(command)}"}
            write(name, setting, measured, cpu_seconds=cpu(command, environment), slowest=slowest(command, environment))


def started(command: list[str], environment: dict[str, str]) -> Contender:
    """The command in a process of its own."""
    return lambda: subprocess.run([sys.executable, RUN, *command], env=environment, check=True, capture_output=True)


def cpu(command: list[str], environment: dict[str, str]) -> float:
    """Processor seconds of one start; on a busy machine they say more than the clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started(command, environment)()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)


def slowest(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Milliseconds spent importing the modules of each package, without what those import; the largest ten."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", RUN, *command], env=environment, check=True, capture_output=True, text=True
    ).stderr
    packages = Counter[str]()
    for microseconds, module in re.findall(r"^import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)$", told, re.MULTILINE):
        packages[module.partition(".")[0]] += int(microseconds)
    return {package: round(total / 1000, 1) for package, total in packages.most_common(10)}


if __name__ == "__main__":
    main()
