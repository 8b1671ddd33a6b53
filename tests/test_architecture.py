"""Imports follow the data: each module may import from its own stage or an earlier one."""

import ast
from itertools import chain
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "dmtc"

STAGES = [
    ["errors", "types", "randomness", "allocator", "interruption", "torchrun", "system_errors", "waiting", "markup"],
    ["registry", "files", "processes", "yaml_files"],
    ["ownership", "config_files", "options"],
    ["config_schema", "hydra_errors", "overrides"],
    ["data"],
    ["splits"],
    ["models"],
    ["losses"],
    ["pseudo"],
    ["schedule", "settings", "lengths"],
    ["batches"],
    ["evaluation", "environment", "changes", "moved", "failures"],
    ["tracking", "progress", "checkpoints"],
    ["run_folder", "sweep_folder", "stored", "config", "origin", "same_data"],
    ["run_beginning"],
    ["engine"],
    ["cost", "prediction"],
    ["report"],
    ["runs", "checking", "scored_data"],
    ["launch", "export"],
    ["jobs"],
    ["output_folder"],
    ["sweeping"],
    ["cli"],
]
STAGE = {name: number for number, names in enumerate(STAGES) for name in names}
# `config.check` holds a config against every registry, and so imports them inside the function.
CHECKS = {("config", "jobs"), ("config", "engine")}


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
    assert module in STAGE, f"give {module} a stage in this file"
    for imported in imports_of(path) - {module}:
        if (module, imported) not in CHECKS:
            assert STAGE[imported] <= STAGE[module], f"{module} must not import {imported}"


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
