import re

from dmtc.evaluation import Scores
from dmtc.report import plan_table, results_table, scores_table
from dmtc.splits import set_sha256


def test_plan_table(finished):
    lines = plan_table("dmtc", finished.plan, finished.split).splitlines()
    assert lines[0].split()[:5] == ["phase", "net", "from", "labels", "by"]
    assert max(map(len, lines)) <= 80
    assert lines[4].split()[:6] == ["r1-a", "a", "r0-a", "r0-b", "50%", "2"]
    assert any("6 phases, 12 steps" in line for line in lines)
    assert any(finished.split.sha256[:16] in line for line in lines)
    rows = {" ".join(line.split()[:-2]): line.split()[-2:] for line in lines}
    labelled = ["3", set_sha256(finished.split.labelled)]
    assert rows["labelled a"] == rows["labelled b"] == labelled
    assert rows["unlabelled"] == ["21", set_sha256(finished.split.unlabelled)]


def test_results_table_fits_into_80_columns_and_ends_with_the_final_scores(finished):
    lines = results_table(finished.results).splitlines()
    assert max(map(len, lines)) <= 80
    miou = finished.results["miou"]
    assert lines[-4].startswith(f"network a: mIoU {100 * miou['a']['last']:.1f}, ")
    assert lines[-2] == f"ensemble:  mIoU {100 * miou['ensemble']:.1f}"
    assert re.fullmatch(r"in \d\d:\d\d of labelling, training and scoring on cpu", lines[-1])


def test_scores_table_leaves_absent_classes_blank():
    table = scores_table({"a": Scores(0.5, (0.25, None, 0.75))}, ["x", "y", "z"])
    assert [line.split() for line in table.splitlines()[2:]] == [
        ["x", "25.0"],
        ["y", "-"],
        ["z", "75.0"],
        ["mIoU", "50.0"],
    ]
