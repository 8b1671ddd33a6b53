"""The tables of real pictures are made from the result files."""

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image

import dmtc
from dmtc.report.sweeps.finding import read_runs
from trees import OWN, write_folder, write_list

ROOT = Path(__file__).parents[2]
MAKING = runpy.run_path(str(ROOT / "benchmarks" / "voc_animals.py"))


def row(method: str, fold: int, miou: float, labelled: int = 100, dataset: str = "voc_animals") -> dict:
    return {
        "dataset": dataset,
        "method": method,
        "ratio": {100: "1/30", 376: "1/8"}[labelled],
        "labelled": labelled,
        "fold": fold,
        "seed": 0,
        "test": {"miou": miou},
        "val": {"miou": miou + 0.02},
        "cpu_minutes": 12.4,
        "processor": "P",
        "threads": 1,
        "precision": "float32",
        "versions": {"python": "3.11", "torch": "2.15"},
    }


def test_the_pages_hold_what_the_files_say():
    rows = MAKING["read"]()
    for name, make in MAKING["PAGES"].items():
        page = (ROOT / name).read_text("utf-8")
        assert page.count(MAKING["BEGIN"]) == 1
        assert MAKING["with_part"](page, make(rows)) == page, "run benchmarks/voc_animals.py"


def test_gains_are_paired_by_fold_and_tables_ordered_by_labels():
    base = MAKING["BASELINE"]
    rows = [row(base, 0, 0.40), row(base, 1, 0.44), row("crescendo", 0, 0.45), row("crescendo", 1, 0.50)]
    text = MAKING["tables"]([row(base, 0, 0.6, labelled=376), *rows, row("crescendo", 2, 0.9)])
    few, many = text.index("100 labels"), text.index("376 labels")
    assert few < many
    (line,) = [line for line in text.splitlines() if line.startswith("| crescendo")]
    assert "+5.5 \\[" in line
    assert "2/2" in line, "fold 2 has no partner"
    assert line.endswith("| 12          | 0 1 2 |")
    assert "P, threads: 1, Python 3.11, torch 2.15" in text


def test_the_overview_has_a_line_for_each_method_and_two_columns_for_each_number_of_labels():
    base = MAKING["BASELINE"]
    rows = [row(base, 0, 0.40), row("crescendo", 0, 0.45), row(base, 0, 0.6, 376), row("supervised", 1, 0.7, 376)]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in MAKING["overview"](rows).splitlines()]
    assert lines[0] == ["mIoU on test images", "100 labels (1/30)", "CPU-minutes", "376 labels (1/8)", "CPU-minutes"]
    assert lines[2:5] == [
        [base, "40.0", "12", "60.0", "12"],
        ["crescendo", "45.0, +5.0 1/1", "12", "", ""],
        ["supervised", "", "", "70.0", "12"],
    ]


def test_a_changed_part_is_compared_with_the_whole_on_the_same_fold_in_the_same_precision():
    changed = row("crescendo teacher.context=0", 1, 0.52) | {"precision": "bfloat16"}
    whole = row("crescendo", 1, 0.9)
    (part,) = MAKING["ablation"]([changed, whole])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    stored = json.loads(MAKING["PRECISION"].read_text("utf-8"))
    (base,) = [100 * one["test"]["miou"] for one in stored if one["fold"] == 1]
    assert lines[2][:4] == ["crescendo teacher.context=0", "52.0", f"{base:.1f}", f"{52 - base:.1f} 0/1"]
    assert MAKING["file_of"](changed) == "ablation_1_30.json"
    assert "teacher.context" not in MAKING["overview"]([changed, whole])


def test_streets_have_a_table_of_their_own():
    base = MAKING["BASELINE"]
    streets = [row(base, 0, 0.6, dataset="camvid"), row("crescendo", 0, 0.58, dataset="camvid")]
    text = MAKING["tables"]([row(base, 0, 0.4), *streets])
    assert "-2.0 0/1" in text.partition("CamVid")[2]
    assert MAKING["file_of"](streets[0]) == "camvid_1_30.json"
    assert "58.0" not in MAKING["overview"]([row(base, 0, 0.4), *streets])


def test_the_overview_says_where_folds_are_missing():
    base = MAKING["BASELINE"]
    text = MAKING["overview"]([row(base, 0, 0.40), row(base, 1, 0.44), row("crescendo", 0, 0.45)])
    assert "45.0 (1 of 2 folds), +5.0 1/1" in text
    assert text.count("folds)") == 1


def test_the_picture_shows_every_method(tmp_path):
    rows = [row("crescendo", 0, 0.4), row("crescendo", 1, 0.5), row("crescendo", 0, 0.6, 376), row("dmt", 0, 0.3)]
    MAKING["draw"](rows, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (768, 480)


def test_a_run_becomes_a_row(tmp_path):
    root = write_folder(tmp_path / "data")
    write_list(root / "test.txt", ["p00", "p01"])
    given = [*OWN, f"dataset.root={root}", "method=crescendo", "split=dmt", "split.ratio=4", "split.fold=2"]
    run = dmtc.train(dmtc.compose(given), tmp_path / "runs" / "one")
    (found,) = read_runs(tmp_path / "runs")
    row = MAKING["row_of"](found)
    assert (row["method"], row["ratio"], row["labelled"], row["fold"]) == ("crescendo", "4", 4, 2)
    assert row["test"] == {"miou": run.results["test"]["miou"]["a"]}
    assert row["val"] == {"miou": run.results["miou"]["a"]["last"]}
    assert row["cpu_minutes"] * 60 == pytest.approx(run.results["cpu_seconds"])
    assert row["precision"] == "float32"
    assert str(tmp_path) not in json.dumps(row), "no path of a machine"
    assert MAKING["tables"]([row]).count("crescendo") == 1


def test_a_run_for_choosing_is_refused(tmp_path):
    given = [*OWN, f"dataset.root={write_folder(tmp_path / 'data')}", "method=supervised"]
    dmtc.train(dmtc.compose(given), tmp_path / "runs" / "one")
    (found,) = read_runs(tmp_path / "runs")
    with pytest.raises(SystemExit, match="no score on test images"):
        MAKING["row_of"](found)
