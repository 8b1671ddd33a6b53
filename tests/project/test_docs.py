"""What the README, the page of options and the quickstart show works; tables of speed are made from result files."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

import dmtc
from dmtc.cli.main import translate
from dmtc.engine.checks import settle

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("dmtc ")
    for line in README.splitlines()
    if line.startswith("dmtc ") and "resume=" not in line and "--help" not in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_composes(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [a for a in translate(shlex.split(command)) if a not in ("-m", "--multirun")]
    one_value = [a if "[" in a or "{" in a else re.sub(r"^([^=]+=[^,]+),.*", r"\1", a) for a in arguments]
    settle(dmtc.compose([a for a in one_value if not a.startswith("hydra.")]))


def test_every_option_in_the_table_of_options_composes():
    table = (ROOT / "docs" / "options.md").read_text("utf-8").split("|---|---|")[1].split("\n\n")[0]
    options = [option for quoted in re.findall(r"`([^`]+)`", table) for option in shlex.split(quoted) if "=" in option]
    assert len(options) > 20
    for option in options:
        if option not in ("model.backbone.arch=convnext_tiny",):
            needed = ["split=files"] if option.startswith("split.labelled") else []
            settle(dmtc.compose([*needed, option]))


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_python_examples(page, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = (ROOT / page).read_text("utf-8").split("```python\nimport dmtc\n")[1].split("```")[0]
    compose, train = dmtc.compose, dmtc.train
    monkeypatch.setattr(dmtc, "compose", lambda overrides: compose([*small, *overrides]), raising=False)
    monkeypatch.setattr(dmtc, "train", lambda overrides: train([*small, *overrides]), raising=False)
    names: dict = {"dmtc": dmtc}
    exec(code, names)
    assert names["mask"].shape == (48, 48)


def test_files_that_the_readme_names_are_there():
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert len(targets) > 20
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_readme_is_short_and_its_pictures_small():
    prose = re.sub(r"<!-- made by .*?<!-- end -->", "", README, flags=re.DOTALL)
    assert len(prose.splitlines()) <= 120, "details belong into docs"
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).stat().st_size < 300_000


TABLE = runpy.run_path(str(ROOT / "benchmarks" / "table.py"))


def test_tables_of_speed_are_made_from_the_result_files():
    page = ROOT / "docs" / "benchmarks.md"
    text = page.read_text("utf-8")
    assert text.count(TABLE["BEGIN"]) == 1
    assert TABLE["replaced"](text, TABLE["tables"](TABLE["read"](TABLE["RESULTS"]))) == text, "run benchmarks/table.py"
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (page.parent / picture).stat().st_size < 300_000


def record(device: str = "cpu", **content: object) -> dict:
    """A result file's content, made up."""
    packages = {"torch": "2.15.0"}
    machine = {"processor": "A Processor", "cores": 2, "threads": 1, "load_before": 0.5, "device": device}
    state = {"python": "3.11.7", "packages": packages, "commit": "0123456789abcdef", "uncommitted_changes": False}
    return {"environment": {**machine, **state}, "date": "2030-01-31", **content}


def test_the_table_of_speed_compares_and_names_the_machine(tmp_path):
    contrast = record(
        setting={"batch": 8, "crop": [321, 321]},
        median_seconds={"ours": 0.5, "DMTC": 13.0},
        times_faster={"DMTC": 26.0},
        peak_bytes={"ours": 180_000_000, "DMTC": 4_500_000_000},
    )
    labelling = record(
        setting={"images": 8},
        median_seconds={"ours": 4.0, "ours, cached": 2.0, "DMT": 8.0},
        times_faster={"DMT": 2.0},
        bytes_on_disk={"ours": 10**6, "DMT": 12 * 10**6},
    )
    startup = record(setting={"command": "python run.py --help"}, median_seconds={"ours": 0.6}, times_faster={})
    for name, content in {"startup_help": startup, "labelling": labelling, "contrast": contrast}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    records = TABLE["read"](tmp_path)
    made = TABLE["tables"](records).splitlines()
    assert made[2:7] == [
        "| regional contrast, forward and backward | batch 8, crop 321x321 | 500 ms | DMTC: 13 s | 26.0 |"
        " 180 MB, 4.5 GB | a |",
        "| labelling | images 8 | 500 ms per image | DMT: 1 s per image | 2.0 | - | a |",
        "| labelling, cached | images 8 | 250 ms per image | DMT: 1 s per image | 4.0 | - | a |",
        "| labelling, on disk | images 8 | 1 MB | DMT: 12 MB | 12.0 times smaller | - | a |",
        "| start of `dmtc --help` | python run.py --help | 600 ms | - | - | - | a |",
    ]
    machine = "- a: A Processor, cores: 2, threads: 1; Python 3.11.7, torch 2.15.0; commit 0123456789; 2030-01-31"
    assert made[-1] == machine


def test_the_table_of_speed_says_what_is_doubtful():
    doubtful = record(setting={}, median_seconds={"ours": 1.0, "DMT": 2.0}, times_faster={"DMT": 2.0})
    doubtful["environment"] |= {"uncommitted_changes": True, "load_before": 6.0}
    text = TABLE["tables"]({"loader": doubtful})
    assert "commit 0123456789, with changes that were not committed, while other work ran;" in text


def test_the_table_of_speed_tells_of_a_gpu_whether_there_is_one():
    missing = "Not measured on a GPU"
    assert missing in TABLE["tables"]({})
    step = {"images": 8, "share_of_matrix_rate": 0.47}
    recipe = record(
        "A GPU",
        recipe="dmtc_cityscapes_1_8",
        precision="bfloat16",
        stages=[{"stage": "start", "steps": [step], "embedding_adds": 0.08}],
        labelling={"efficiency": 0.7},
        evaluation={"efficiency": 0.65},
        seconds=1800.0,
    )
    text = TABLE["tables"]({"recipe_dmtc_cityscapes_1_8_cuda": recipe})
    assert missing not in text
    assert "| `dmtc_cityscapes_1_8` | A GPU, bfloat16 | start, 8 images: 47% | 8% | 70% | 65% | 0.5 h | a |" in text
    assert "- a: A GPU beside A Processor" in text
