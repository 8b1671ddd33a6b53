"""The pages of the methods: one form, settings that are those of conf, commands that compose."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

import dmtc
from dmtc.cli.main import translate
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle

ROOT = Path(__file__).parents[2]
MAKING = runpy.run_path(str(ROOT / "docs" / "making" / "methods.py"))
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(MAKING["PAGES"].glob("*.md"))}
OF_METHODS = {name: text for name, text in PAGES.items() if name != "index"}
SECTIONS = ["Idea", "Command", "Settings", "Published figures", "How ours differs"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_made_from_conf(name):
    assert MAKING["with_parts"](PAGES[name]) == PAGES[name], "run docs/making/methods.py"


def test_every_method_has_a_page_that_the_overview_links_to():
    shown = re.findall(r"methods\.py: settings (\w+) -->", "".join(OF_METHODS.values()))
    assert sorted(shown) == MAKING["methods"](), "each in one page of docs/methods"
    for name in OF_METHODS:
        assert f"]({name}.md)" in PAGES["index"]


@pytest.mark.parametrize("name", OF_METHODS)
def test_a_page_has_the_form_of_all(name):
    text = OF_METHODS[name]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    idea = text.split("## Idea\n")[1].split("## Command")[0].strip()
    assert len(idea.splitlines()) <= 6
    for line in re.findall(r"^\| `[a-z].*$", text.split("## Settings")[1].split("## Published")[0], re.MULTILINE):
        assert not line.endswith("|  |"), f"say where it is from: {line}"


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_METHODS)
def test_commands_compose(name):
    commands = re.findall(r"^python run\.py (.+)$", OF_METHODS[name], re.MULTILINE)
    assert commands
    for command in commands:
        settle(dmtc.compose(translate(shlex.split(command))))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_options_in_the_text_compose(name):
    """As options of one of the methods of the page."""
    methods = re.findall(r"methods\.py: settings (\w+) -->", PAGES[name]) or [None]
    cells = re.sub(r"<!-- made by.*?<!-- end -->|```.*?```", "", PAGES[name], flags=re.DOTALL)
    for option in re.findall(r"`((?:[a-z_]+[./]?)+=[^` A-Z]+)`", cells):
        if option.startswith(("method=", "experiment=")) or "..." in option:
            continue
        group = {"evaluation.ragged=true": ["evaluation=sliding"]}.get(option, [])
        errors = []
        for method in methods:
            try:
                settle(dmtc.compose([*group, option] if method is None else [f"method={method}", *group, option]))
            except ConfigError as error:
                errors.append(error)
        assert len(errors) < len(methods), errors
