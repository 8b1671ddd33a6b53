"""The rooms of src/dmtc: imports follow the data, files are short, and the engine knows no method."""

import ast
import re
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dmtc"

ROOMS = [
    "core",
    "machine",
    "config",
    "data",
    "splits",
    "models",
    "losses",
    "pseudo",
    "schedule",
    "batches",
    "evaluation",
    "tracking",
    "run",
    "engine",
    "cost",
    "prediction",
    "report",
    "conversion",
    "checking",
    "export",
    "api",
    "cli",
]
"""Lowest first: a room imports from itself and from rooms before it, inside functions too."""
LEVEL = {room: number for number, room in enumerate(ROOMS)}


def module_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + ([f"dmtc.{alias.name}" for alias in node.names] if node.module == "dmtc" else [])
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("dmtc.")}
    return found


FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_import_direction(path):
    module = module_of(path)
    assert module in LEVEL, f"give {module} a level in this file"
    for imported in imports_of(path) - {module}:
        assert LEVEL[imported] < LEVEL[module], f"{module} must not import {imported}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 300


STRUCTURE = runpy.run_path(str(ROOT / "docs" / "making" / "structure.py"))


def test_no_imports_lead_in_a_circle():
    graph = {path: set(STRUCTURE["imported_files"](path)) for path in SOURCE.rglob("*.py")}
    assert sum(map(len, graph.values())) > 500
    assert STRUCTURE["circles"](graph) == []
    one, other = sorted(graph)[:2]
    assert len(STRUCTURE["circles"]({one: {other}, other: {one}})) == 1, "it would have been seen"


def test_few_rooms_and_few_loose_files():
    folders = [path.name for path in SOURCE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "conf")]
    assert sorted(folders) == sorted(ROOMS)
    assert len(folders) <= 22
    assert sum(path.suffix == ".py" for path in SOURCE.iterdir()) <= 3


def option_names() -> set[str]:
    """What the losses of methods can be set to, and the methods' own terms."""
    names = set()
    for path in (ROOT / "conf" / "loss").rglob("*.yaml"):
        content = yaml.safe_load(path.read_text()) or {}
        inner = [entry for entry in content.values() if isinstance(entry, dict)]
        names |= {key for entry in [content, *inner] for key in entry}
    return names - {"name", "weight", "terms", "defaults", "start", "rounds"}


def words_of(path: Path) -> set[str]:
    """Every word in the strings and names of a file, but for those of its docstrings and comments."""
    tree = ast.parse(path.read_text())
    bodies = (node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list))
    prose = {id(one.value) for body in bodies for one in body if isinstance(one, ast.Expr)}
    words = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            words |= set(re.findall(r"\w+", node.value))
        for name in ("id", "attr", "arg", "name"):
            words |= {value} if isinstance(value := getattr(node, name, None), str) else set()
    return words


COMMON = {"none", "folder", "linear", "full", "supervised", "threshold", "multiple", "flip", "timm", "tiny", "frozen"}
COMMON |= {
    "on",
    "target",
    "map",
    "unlabelled",
    "perturbed",
    "labelled",
    "selection",
    "divisor",
    "ramp",
    "start",
    "end",
    "online",
}
COMMON |= {"cutmix", "classmix", "share", "momentum", "beta", "dice"}
"""Choices and options of the groups below that are words of everything else too: of stages, views, mixers, metrics."""


@pytest.mark.parametrize("room", ["engine", "batches", "evaluation"])
def test_the_engine_knows_no_method(room):
    """Neither by the name of a method, loss, data set or head, nor by an option or a term of theirs."""
    files = sorted((SOURCE / room).rglob("*.py"))
    assert files
    groups = ("method", "loss", "dataset", "model")
    names = {path.stem for group in groups for path in (ROOT / "conf" / group).rglob("*.yaml")}
    options = option_names()
    assert {"gamma", "contrast_weight", "mutual", "contrastive", "gamma_agree", "strong_threshold"} <= options
    assert {"dmtc", "cbst", "camvid", "segformer"} <= names
    for path in files:
        found = words_of(path) & ((names | options) - COMMON)
        assert not found - {"dmtc"}, f"{path.name} knows {sorted(found)}"
