"""Do the tests notice? Small faults are put into the code, one at a time, and the tests that belong there are run.

    uv run --with cosmic-ray --with coverage python tests/mutants.py --out mutants.jsonl

takes 300 faults (`--count`), drawn with a fixed seed (`--seed`) in equal parts over losses, pseudo-labels, evaluation,
splits and what resuming a run rests on. Cosmic Ray knows where which fault is possible and makes it; its own runner
would start Python and import torch anew for each. Here a process that has imported them forks for every fault, works in
a copy of the checkout, and stops at the first test that fails. Of the tests of a part those are run that reach the
changed line, as a first run without fault has seen. What is in `--out` already is not tried again, so the command may
be stopped at any time. `docs/making/mutants.md` tells of the faults that survived.
"""

import argparse
import ast
import difflib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from trials import CHECKOUT, changed, copied, first_failure, in_a_fork, run_pytest

PARTS: dict[str, tuple[list[str], list[str]]] = {
    # Which code, and which tests belong to it; the quick ones first.
    "losses": (
        ["losses"],
        ["losses", "core/test_properties.py", "engine/test_golden_trajectory.py", "engine/test_step.py"],
    ),
    "pseudo": (
        ["pseudo"],
        [
            "pseudo",
            "evaluation/test_quality.py",
            "core/test_properties.py",
            "engine/test_golden_trajectory.py",
            "api/test_runs.py",
        ],
    ),
    "evaluation": (
        ["evaluation"],
        [
            "evaluation",
            "core/test_properties.py",
            "engine/test_golden_trajectory.py",
            "engine/test_averaging.py",
            "engine/test_step.py",
        ],
    ),
    "splits": (
        ["splits"],
        ["splits", "core/test_properties.py"],
    ),
    "resume": (
        ["run/checkpoints.py", "run/changes.py", "api/launch.py", "run/folder.py"],
        [
            "machine/test_interruption.py",
            "project/test_alike.py",
            "api/test_runs.py",
            "api/test_resume.py",
        ],
    ),
}
TIMES_LONGER, SECONDS_MORE = 3.0, 20.0


class RemoveCall(Operator):
    """Leave out a statement that is a call."""

    def mutation_positions(self, node: Any) -> Iterator[tuple]:
        """Where one stands."""
        if node.type == "simple_stmt" and (call := node.children[0]).type == "atom_expr":
            last = call.children[-1]
            if last.type == "trailer" and last.children[0].value == "(":
                yield call.start_pos, call.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put `pass` in its place."""
        call = node.children[0]
        node.children[0] = parso.python.tree.Name("pass", call.start_pos, prefix=call.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> Sequence:
        """None: Cosmic Ray's own tests are not run here."""
        return ()


OPERATORS: dict[str, Callable[[], Operator]] = {
    name: OperatorProvider()[name] for name in OperatorProvider() if not name.startswith("Variable")
} | {"RemoveCall": RemoveCall}


@dataclass(frozen=True)
class Mutant:
    """One fault: which operator, and the how-manieth place of a file where it can be put."""

    part: str
    file: str
    line: int
    operator: str
    occurrence: int

    @property
    def name(self) -> str:
        """What identifies it."""
        return f"{self.file}:{self.line} {self.operator} {self.occurrence}"

    def code(self, source: str) -> str:
        """The file's content with the fault."""
        return mutate_code(source, OPERATORS[self.operator](), self.occurrence)


def possible(part: str, file: str, source: str) -> dict[tuple, list[Mutant]]:
    """All faults of a file by their place and kind; annotations, which nothing computes with, have none."""
    tree = ast.parse(source)
    annotations = [
        (each.lineno, each.col_offset, each.end_lineno, each.end_col_offset)
        for node in ast.walk(tree)
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(each, ast.AST)
    ]
    found: dict[tuple, list[Mutant]] = {}
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in OPERATORS.items():
        places = [place for node in nodes for place in operator().mutation_positions(node)]
        for occurrence, (start, end) in enumerate(places):
            if any(
                begin <= (*start,) and (*end,) <= stop
                for *_, begin, stop in ((a, b, (a, b), (c, d)) for a, b, c, d in annotations)
            ):
                continue
            kind = name.split("_")[0]  # one of eleven operators in the place of another is one possibility, not eleven
            found.setdefault((file, start, kind), []).append(Mutant(part, file, start[0], name, occurrence))
    return found


def drawn(count: int, seed: int, parts: Sequence[str]) -> list[Mutant]:
    """As many faults of every part, each place at most once; the parts in turns."""
    chosen = []
    for part in parts:
        choose = random.Random(f"{seed} {part}")
        places: dict[tuple, list[Mutant]] = {}
        for name in PARTS[part][0]:
            path = CHECKOUT / "src" / "dmtc" / name
            for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
                places |= possible(part, str(file.relative_to(CHECKOUT)), file.read_text())
        chosen.append([choose.choice(places[key]) for key in choose.sample(sorted(places), count // len(PARTS))])
    return [mutant for of_each in zip(*chosen, strict=True) for mutant in of_each]


class Recording:
    """A plugin of pytest that notes which test reaches which line, and how long it takes."""

    def __init__(self, code: list[str], output: Path) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=None, include=code, config_file=False)
        self.output, self.seconds, self.failed = output, {}, []
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A part of it is done."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        self.failed += [report.nodeid] if report.failed else []

    def pytest_sessionfinish(self) -> None:
        """All are done."""
        self.coverage.stop()
        data = self.coverage.get_data()
        reached = {file: data.contexts_by_lineno(file) for file in data.measured_files()}
        self.output.write_text(json.dumps({"reached": reached, "seconds": self.seconds, "failed": self.failed}))


class Trial:
    """The tests of one part, in a copy of the checkout."""

    def __init__(self, part: str, copy: Path) -> None:
        self.copy = copy
        code, tests = PARTS[part]
        self.tests = [f"tests/{name}" for name in tests]
        record, log = copy.parent / f"{part}.json", copy.parent / f"{part}.txt"
        files = [f"{copy}/src/dmtc/{name}{'' if name.endswith('.py') else '/*'}" for name in code]
        self.code = [f"src/dmtc/{name}" for name in code]
        result = in_a_fork(lambda: run_pytest(copy, [*self.code, *self.tests], [Recording(files, record)]), log, 1800)
        assert result in (0, 1), f"the tests of {part} cannot be run: {log.read_text()[:3000]}"
        self.record = json.loads(record.read_text())
        self.left_out = [f"--deselect={name}" for name in self.record["failed"]]
        for name in self.record["failed"]:
            print(f"{name} fails without any fault, and is left out", flush=True)

    def arguments(self, mutant: Mutant) -> list[str]:
        """What to run: tests that reach the line; all, where it is read at import or other processes read it too."""
        reached = self.record["reached"].get(str(self.copy / mutant.file), {}).get(str(mutant.line), [])
        if "" in reached or not reached:
            return [*self.code, *self.tests]
        own = [name for name in self.record["seconds"] if name in set(reached) - set(self.record["failed"])]
        return own + [name for name in self.record["seconds"] if "killed_run" in name and name not in reached]

    def carry_out(self, mutant: Mutant) -> tuple[str, str]:
        """Put the fault in, run, and take it out again: what came of it, and which test noticed."""
        path, log = self.copy / mutant.file, self.copy.parent / "log.txt"
        arguments = self.arguments(mutant)
        usual = sum(seconds for name, seconds in self.record["seconds"].items() if name.startswith(tuple(arguments)))
        tests = ["-x", *self.left_out, *arguments]
        with changed(path, mutant.code(path.read_text())):
            code = in_a_fork(lambda: run_pytest(self.copy, tests), log, TIMES_LONGER * usual + SECONDS_MORE)
        by = first_failure(log) or f"pytest's exit code {code}"
        return ("timeout", "time") if code is None else ("survived", "") if code == 0 else ("killed", by)


def main() -> None:
    """Draw, try, write a line for each, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="*", default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--again", action="store_true", help="try those that survived again")
    options = parser.parse_args()
    results = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.again:
        results = [each for each in results if each["result"] != "survived"]
        options.out.write_text("".join(json.dumps(each) + "\n" for each in results))
    done = {each["name"] for each in results}
    chosen = [mutant for mutant in drawn(options.count, options.seed, options.parts) if mutant.name not in done]
    with tempfile.TemporaryDirectory() as place, options.out.open("a") as out:
        copy = copied(Path(place))
        trials = {part: Trial(part, copy) for part in options.parts}
        for mutant in chosen:
            source, begun = (copy / mutant.file).read_text(), time.monotonic()
            result, by = trials[mutant.part].carry_out(mutant)
            lines = difflib.unified_diff(source.splitlines(), mutant.code(source).splitlines(), lineterm="", n=0)
            line = {"name": mutant.name, "part": mutant.part, "result": result, "by": by, "diff": list(lines)[3:]}
            print(json.dumps(line | {"seconds": round(time.monotonic() - begun, 1)}), file=out, flush=True)
            print(f"{result:8} {mutant.name} {by}", flush=True)
    results = [json.loads(line) for line in options.out.read_text().splitlines()]
    for part in PARTS:
        of_part = [each["result"] for each in results if each["part"] == part]
        print(f"{part}: {len(of_part)} faults, {of_part.count('survived')} survived")


if __name__ == "__main__":
    main()
