"""Imports follow the data: each module may import from its own stage or an earlier one."""

import ast
from itertools import chain
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "dmtc"

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
    "checking",
    "api",
    "export",
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


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_import_direction(path):
    module = module_of(path)
    assert module in LEVEL, f"give {module} a level in this file"
    for imported in imports_of(path) - {module}:
        assert LEVEL[imported] < LEVEL[module], f"{module} must not import {imported}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 350


def test_the_engine_knows_no_method_by_name():
    names = {
        "dmtc",
        "dmt",
        "dst",
        "cbst",
        "mutual",
        "regional",
        "contrast",
        "focal",
        "synthetic",
        "camvid",
        "cityscapes",
        "voc",
        "deeplabv2",
    }
    looked_at = {package: sorted((SOURCE / package).glob("*.py")) for package in ("engine", "batches", "evaluation")}
    assert all(looked_at.values())
    for path in chain(*looked_at.values()):
        tree = ast.parse(path.read_text())
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & names
