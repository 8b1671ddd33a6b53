"""Notebooks as pages of the site: their results are shown, and the sweep of their text is found."""

import base64
import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import dmtc

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PIXEL = base64.b64encode(b"\x89PNG").decode()


@pytest.fixture(scope="module")
def pages() -> dict:
    return runpy.run_path(str(ROOT / "docs" / "making" / "notebook_pages.py"))


def shown(**data) -> list:
    kinds = {"html": "text/html", "png": "image/png", "plain": "text/plain"}
    return [new_output("execute_result", data={kinds[name]: value for name, value in data.items()})]


def test_results_become_html_figures_and_text(pages):
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Title\n\nText."),
            new_code_cell(
                "table",
                outputs=shown(
                    html='<style>\ntd {}\n</style>\n<table border="1" class="dataframe">\n\n<tr></tr>\n</table>',
                    plain="t",
                ),
            ),
            new_code_cell("figure", outputs=shown(png=PIXEL, plain="<Figure>")),
            new_code_cell("menus", outputs=shown(plain="interactive"), metadata={"tags": ["widgets"]}),
            new_code_cell("number", outputs=shown(plain="{'a': 1,\n 'b': 2}")),
        ]
    )
    text, figures = pages["converted"](notebook, "01_name", note="A note.")
    assert text.startswith('# Title\n\n<a href="01_name.ipynb" download>Download this notebook</a> A note.\n')
    assert "\n<table><tr></tr></table>\n" in text
    (figure,) = re.findall(r"!\[png\]\((.+)\)", text)
    assert figures == {figure: b"\x89PNG"}
    assert "```{.text .result}\n{'a': 1,\n 'b': 2}\n```" in text
    assert text.count("```{.text .result}") == 1
    assert "interactive" not in text
    assert "<Figure>" not in text


def test_the_text_of_a_notebook_has_a_sweep_that_composes(pages):
    (command,) = pages["sweeps_of"](nbformat.read(NOTEBOOKS[2], as_version=4))
    assert command[:3] == ["-m", "dmtc", "-m"]
    assert "hydra.sweep.dir=multirun/first" in command
    first = [re.sub(r"^(\w[\w.]*=[^\[,]+),.*", r"\1", part) for part in command[3:] if not part.startswith("hydra.")]
    assert dmtc.compose(first)["schedule"]["limit_steps"] == 20
    assert [pages["sweeps_of"](nbformat.read(path, as_version=4)) for path in NOTEBOOKS[:2]] == [[], []]


def test_pages_of_notebooks_that_are_not_executed_say_so(pages, monkeypatch):
    monkeypatch.delenv("DMTC_NOTEBOOKS", raising=False)
    for path in NOTEBOOKS:
        text, figures = pages["page_of"](path)
        assert pages["WITHOUT"] in text
        assert figures == {}
