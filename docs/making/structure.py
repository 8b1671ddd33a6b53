"""The structure of the library in numbers: rooms, arrows between them, circles, and one image's way to the loss.

A room is a folder or a loose file directly in `src/dmtc`; an arrow is one room that imports another, also inside
functions. `tests/project/test_architecture.py` names the order of the rooms, which arrows must follow.

python docs/making/structure.py
"""

import ast
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dmtc"
LONG = 300
"""Lines of a file that probably has two subjects."""


def main() -> None:
    """Print a table."""
    rows = {**static_numbers(), **dynamic_numbers()}
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))


def static_numbers() -> dict[str, object]:
    """What the imports show."""
    files = sorted(SOURCE.rglob("*.py"))
    graph = {path: set(imported_files(path)) for path in files}
    rooms = {room_of(path) for path in files if path.parent != SOURCE}
    arrows = {(room_of(a), room_of(b)) for a, targets in graph.items() for b in targets if room_of(a) != room_of(b)}
    arrows = {(a, b) for a, b in arrows if a in rooms and b in rooms}
    order = {room: number for number, rooms in enumerate(room_order()) for room in rooms}
    up = sorted(f"{a} -> {b}" for a, b in arrows if order.get(b, 0) > order.get(a, len(order)))
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    return {
        "files": len(files),
        "lines": sum(lengths.values()),
        "rooms": len(rooms),
        "loose files at the top": sum(path.parent == SOURCE for path in files),
        "arrows": len(arrows),
        "arrows back up": f"{len(up)} {', '.join(up)}".strip(),
        "circles of files": [len(circle) for circle in circles(graph)],
        f"files over {LONG} lines": sum(length > LONG for length in lengths.values()),
        "parameters of the trainer": trainer_parameters(),
    }


def dynamic_numbers() -> dict[str, object]:
    """What one step of training shows: the frames above a loss, and the files that an image passes on its way there."""
    import cv2

    import dmtc
    from dmtc.losses import LOSSES

    stacks: dict[str, list[traceback.FrameSummary]] = {}
    decode = cv2.imdecode

    def decoding(*arguments):
        stacks["decoding"] = list(traceback.extract_stack())
        return decode(*arguments)

    @LOSSES.register("where_am_i")
    class WhereAmI:
        def __call__(self, logits):
            stacks["loss"] = list(traceback.extract_stack())
            stacks.setdefault("image", stacks["decoding"])
            return logits.sum() * 0

    with tempfile.TemporaryDirectory() as folder, patch.object(cv2, "imdecode", decoding):
        few = ["method=supervised", "schedule.limit_steps=1", "dataset.train_images=8", "dataset.val_images=2"]
        where = [f"dataset.root={folder}/data", "run.progress=off", "run.report=false", "run.workers=0"]
        term = "+loss.where={name: where_am_i, weight: {start: 1.0, rounds: 0.0}}"
        dmtc.train(dmtc.compose([*few, *where, term]), Path(folder) / "run")
    own = {
        name: [Path(frame.filename).relative_to(SOURCE) for frame in stack if SOURCE in Path(frame.filename).parents]
        for name, stack in stacks.items()
    }
    way = dict.fromkeys([*own["image"], *own["loss"]])
    return {
        "own frames from dmtc.train to a loss": len(own["loss"]),
        "files on one image's way": len(way),
        "lines of these": sum(len((SOURCE / path).read_text().splitlines()) for path in way),
        "the way": " ".join(map(str, way)),
    }


def room_order() -> list[list[str]]:
    """The order that the test of the architecture holds, lowest first."""
    tree = ast.parse((ROOT / "tests" / "project" / "test_architecture.py").read_text())
    assignment = next(
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("STAGES", "ROOMS")
    )
    value = ast.literal_eval(assignment.value)
    return [[entry] if isinstance(entry, str) else entry for entry in value]


def room_of(path: Path) -> str:
    """The room that a file stands in."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_files(path: Path) -> Iterator[Path]:
    """Files of the library that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "dmtc":
            for alias in node.names:
                yield from _file_of(f"{node.module}.{alias.name}") or _file_of(node.module)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("dmtc."):
                    yield from _file_of(alias.name)


def _file_of(module: str) -> list[Path]:
    base = SOURCE.parent / module.replace(".", "/")
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()][:1]


def circles(graph: Mapping[Path, set[Path]]) -> list[list[Path]]:
    """Groups of files that import each other around, largest first (Tarjan 1972)."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found: list[list[Path]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            circle = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(circle) > 1:
                found.append(circle)

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def trainer_parameters() -> int:
    """Parameters of what trains a phase, `self` left out."""
    for path in SOURCE.glob("engine/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name == "Trainer":
                made = next(each for each in node.body if getattr(each, "name", "") == "__init__")
                assert isinstance(made, ast.FunctionDef)
                return len(made.args.args) - 1 + len(made.args.kwonlyargs)
    raise LookupError("no Trainer")


if __name__ == "__main__":
    main()
