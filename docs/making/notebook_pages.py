"""Notebooks as pages of the site, with figures if they are executed: for the hook `mounted.py`.

With `DMTC_NOTEBOOKS=run` in the environment they are executed, one after another, in a folder of their own: the first
one trains a run, the second reads it, and before the third its own `dmtc -m ...` makes a sweep. That takes some minutes
on a CPU. What was executed is kept in `build/notebooks/` until a notebook or the version changes. Otherwise pages show
the code alone.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

WITHOUT = "This build of the site did not execute the notebook, so its results are missing."
COMMAND = re.compile(r"^dmtc -m (?:.*\\\n)*.*$", re.MULTILINE)
SHOWN = ("text/html", "image/png", "text/plain")


def page_of(path: Path) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook, and its figures by file name."""
    is_run = os.environ.get("DMTC_NOTEBOOKS") == "run"
    notebook = nbformat.read(executed(path) if is_run else path, as_version=4)
    return converted(notebook, path.stem, note="" if is_run else WITHOUT)


def converted(notebook: nbformat.NotebookNode, name: str, note: str = "") -> tuple[str, dict[str, bytes]]:
    """Markdown and figures of a notebook, without the results of cells with the tag `widgets`, which need a kernel."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if "widgets" in cell.metadata.get("tags", []):
                cell.outputs = []
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):  # on one line, as a blank line would end it in Markdown
                    output.data["text/html"] = _in_one_line(output.data["text/html"])
    exporter = MarkdownExporter()
    exporter.display_data_priority = list(SHOWN)
    body, resources = exporter.from_notebook_node(notebook, {"output_files_dir": f"{name}_files"})
    head, _, rest = body.strip().partition("\n")
    link = f'<a href="{name}.ipynb" download>Download this notebook</a>'
    # A class of its own for results, so that they do not look like code to copy.
    rest = re.sub(r"\n\n((?:    .*\n)+)", _as_result, f"{rest}\n")
    figures: dict[str, bytes] = resources["outputs"]
    return f"{head}\n\n{link}{' ' + note if note else ''}\n{rest}", figures


def executed(path: Path) -> Path:
    """The executed notebook, from `build/notebooks/` if it is there."""
    notebooks = sorted(path.parent.glob("*.ipynb"))
    version = path.parents[1] / "src/dmtc/core/version.py"
    made_of = hashlib.sha256(b"".join(one.read_bytes() for one in [*notebooks, version])).hexdigest()[:12]
    kept = path.parents[1] / "build" / "notebooks" / made_of
    if not kept.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            execute_all(notebooks, Path(folder))
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(Path(folder) / "notebooks", kept)
    return kept / path.name


def execute_all(notebooks: list[Path], place: Path) -> None:
    """Execute copies of notebooks in `place/notebooks`, beside the runs that they make and read."""
    from nbclient import NotebookClient

    (place / "notebooks").mkdir()
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        for command in sweeps_of(notebook):
            subprocess.run([sys.executable, *command], cwd=place, check=True, stdout=subprocess.DEVNULL)
        client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(place / "notebooks")}})
        client.comm_open_handlers = {}  # widgets are not shown; with handlers, it may wait for them forever
        client.execute()
        here = f"{place.resolve()}/"
        text = nbformat.writes(notebook).replace(f"{here}notebooks/../", "").replace(here, "")
        (place / "notebooks" / path.name).write_text(text, "utf-8")


def sweeps_of(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The sweeps that a notebook's text shows, as arguments of Python."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = [command for text in texts for command in COMMAND.findall(text)]
    return [["-m", *shlex.split(command.replace("\\\n", " "))] for command in found]


def _in_one_line(html: str) -> str:
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)  # of data frames; the site has its own
    return "".join(line.strip() for line in html.splitlines()).replace(' border="1" class="dataframe"', "")


def _as_result(block: re.Match[str]) -> str:
    text = "\n".join(line[4:] for line in block[1].rstrip().splitlines())
    if not text:  # around figures
        return "\n\n"
    return f"\n\n```{{.text .result}}\n{text}\n```\n"
