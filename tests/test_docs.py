"""What the README shows works."""

import re
import shlex
from pathlib import Path

import pytest

import dmtc
from dmtc.cli import translate
from dmtc.config import settle

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("python run.py ", 1)[1]
    for line in README.splitlines()
    if line.startswith("python run.py ") and "resume=" not in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_composes(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_losses.py").write_text(README.split("```python\n# my_losses.py\n")[1].split("```")[0])
    arguments = [a for a in translate(shlex.split(command)) if a not in ("-m", "--multirun")]
    one_value = [a if "[" in a or "{" in a else re.sub(r"^([^=]+=[^,]+),.*", r"\1", a) for a in arguments]
    settle(dmtc.compose([a for a in one_value if not a.startswith("hydra.")]))


def test_every_option_in_the_table_of_parts_composes():
    table = README.split("## Swap a part")[1].split("##")[0]
    options = [option for quoted in re.findall(r"`([^`]+)`", table) for option in shlex.split(quoted) if "=" in option]
    assert len(options) > 20
    for option in options:
        if option not in ("model.backbone.arch=convnext_tiny",):
            needed = ["split=files"] if option.startswith("split.labelled") else []
            settle(dmtc.compose([*needed, option]))


def test_python_example_of_the_readme(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = README.split("```python\nimport dmtc\n")[1].split("```")[0]
    compose = dmtc.compose
    monkeypatch.setattr(dmtc, "compose", lambda overrides: compose([*small, *overrides]), raising=False)
    names: dict = {"dmtc": dmtc}
    exec(code, names)
    assert names["mask"].shape == (48, 48)


def test_files_that_the_readme_names_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).stat().st_size < 300_000
