"""The notebooks work, read through the public API alone, and are committed as they are written."""

import ast
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import dmtc

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FIGURES = {"01_quickstart": 3, "02_pseudo_labels": 10, "03_sweeps": 3}
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def place(finished, tmp_path, monkeypatch) -> Path:
    """The folder of the notebooks, beside one of runs and one of a sweep of two methods, ratios and seeds."""
    shutil.copytree(finished.folder.path, tmp_path / "outputs" / "run")
    for method in ("supervised", "dmtc"):
        for number, ratio in enumerate(["1/8", "1/4"]):
            for seed in (0, 1):
                folder = tmp_path / "multirun" / f"{method}-{number}-{seed}"
                shutil.copytree(finished.folder.path, folder, copy_function=os.link)
                results = json.loads((folder / "results.json").read_text())
                results |= {"method": method, "seed": seed}
                results["split"] |= {"ratio": ratio, "labelled": 3 * (number + 1)}
                results["miou"]["mean_last"] += 0.01 * seed
                (folder / "results.json").unlink()
                (folder / "results.json").write_text(json.dumps(results))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path / "notebooks"


@every_notebook
def test_committed_without_outputs(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@every_notebook
def test_public_api_alone(path):
    tree = ast.parse("\n".join(code_of(path)))
    modules, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            modules |= {name.partition(".")[0] for name in names} if "dmtc" not in names else set()
            assert not any(name.startswith("dmtc.") for name in names)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")
            if isinstance(node.value, ast.Name) and node.value.id == "dmtc":
                used.add(node.attr)
    assert modules - set(sys.stdlib_module_names) <= {"pandas", "ipywidgets"}, "figures are those of dmtc"
    assert used <= set(dmtc.__all__)
    assert "train" not in used or path.stem == "01_quickstart"


def shown_by(code: str, names: dict) -> object:
    """Run a cell; the value of its last line, which a notebook shows."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


@every_notebook
def test_cells_run(path, place, small, monkeypatch):
    """In this process and without widgets, so that it is quick; `test_in_a_kernel` is the real thing."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    train = dmtc.train
    monkeypatch.setattr(dmtc, "train", lambda options, folder: train([*options, *small], folder), raising=False)
    names: dict = {}
    values = [shown_by(code, names) for code in code_of(path)]
    assert sum(hasattr(value, "_repr_png_") for value in values) == FIGURES[path.stem]
    for value in values:
        if hasattr(value, "_repr_png_"):
            assert value.axes, "an empty figure"
        elif isinstance(value, dmtc.Run | dmtc.Sweep):
            assert "<table>" in value._repr_html_()


@pytest.mark.slow
@every_notebook
@pytest.mark.parametrize("widgets", [True, False])
def test_in_a_kernel(path, place, finished, monkeypatch, widgets):
    """With the defaults of the built-in images for the first; menus and the slider draw without an error."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(Path(dmtc.__file__).parents[1]))
    notebook = nbformat.read(path, as_version=4)
    if not widgets:
        if "ipywidgets" not in path.read_text():
            pytest.skip("has no widgets")
        notebook.cells.insert(0, nbformat.v4.new_code_cell("import sys\nsys.modules['ipywidgets'] = None"))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}})
    # What it does for widgets that hold outputs makes it miss replies now and then, and wait forever (nbclient #312);
    # without, their outputs are the cells'.
    client.comm_open_handlers = {}
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    state = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    models = [model["state"] for model in state.values()]
    assert "error" not in [output["output_type"] for output in outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    interactive = widgets and path.stem == "02_pseudo_labels"
    assert len(pictures) == FIGURES[path.stem] + interactive
    sliders = [model for model in models if model.get("_model_name") == "FloatSliderModel"]
    assert len(sliders) == interactive
