"""CONTRIBUTING.md: every path in its tree, its way of one image and its tables is there, and no folder is missing."""

import re
from collections.abc import Iterator
from pathlib import Path

from test_architecture import ROOMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
CHANGES = "## Where to change what"


def section(title: str) -> str:
    return PAGE.split(f"{title}\n", 1)[1].split("\n## ", 1)[0]


def paths_of_the_tree() -> Iterator[str]:
    """Each line's path below the root: two blanks further in is one folder deeper."""
    folders: list[str] = []
    for line in section("## The tree").split("```")[1].strip("\n").splitlines():
        name = line.split()[0]
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        yield "".join([*folders, name])
        if name.endswith("/"):
            folders.append(name)


def paths_of(text: str) -> list[str]:
    """What stands in backquotes and looks like a path of the repository."""
    quoted = re.findall(r"`([^`\s]+)`", text) + re.findall(r"[\w./]+/[\w./]+\.(?:py|md|yaml)", text)
    return [path for path in quoted if re.match(r"(src|conf|tests|docs|benchmarks)/", path)]


def rows() -> list[list[str]]:
    table = [line for line in section(CHANGES).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def test_every_path_is_there():
    tree = list(paths_of_the_tree())
    named = [
        path
        for title in ("# Contributing", "## The way of one image", CHANGES, "## Rules")
        for path in paths_of(section(title))
    ]
    assert len(tree) > 80
    assert len(named) > 80
    missing = [path for path in dict.fromkeys([*tree, *named]) if not (ROOT / path).exists()]
    assert not missing
    not_folders = [path for path in [*tree, *named] if path.endswith("/") and not (ROOT / path).is_dir()]
    assert not not_folders


def folders(top: str) -> set[str]:
    """Folders with files in them, below a top folder."""
    found = {path.parent for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {f"{path.relative_to(ROOT).as_posix()}/" for path in found if path != ROOT / top}


def test_the_tree_shows_every_room_and_every_group():
    tree = set(paths_of_the_tree())
    rooms = {f"src/dmtc/{room}/" for room in ROOMS}
    assert rooms == {path for path in folders("src/dmtc") if path.count("/") == 3}
    assert rooms <= tree
    assert folders("conf") <= tree
    assert folders("src/dmtc") - tree <= {"src/dmtc/report/templates/"}


def test_rooms_stand_in_the_order_of_their_imports():
    shown = [path.split("/")[2] for path in paths_of_the_tree() if re.fullmatch(r"src/dmtc/\w+/", path)]
    assert shown == ROOMS


def test_every_change_names_code_config_tests_and_a_page():
    kinds = "\n".join(row[0] for row in rows())
    for kind in (
        *("method", "loss", "schedule", "optimizer", "learning-rate curve", "backbone", "head", "data set"),
        *("augmentation", "split rule", "label store", "scoring protocol", "metric", "logger", "export format", "job"),
    ):
        assert kind in kinds
    for what, code, config, tests, page in rows():
        assert paths_of(code) or code.startswith("none"), what
        assert paths_of(config) or config.startswith("none"), what
        assert paths_of(tests), what
        assert paths_of(page), what
