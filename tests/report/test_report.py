from dmtc.evaluation import Scores
from dmtc.report import plan_table, scores_table
from dmtc.splits import set_sha256


def test_plan_table(finished):
    lines = plan_table(finished.plan, finished.split).splitlines()
    assert lines[0].split()[:4] == ["phase", "network", "starts", "from"]
    assert lines[4].split()[:6] == ["r1-a", "a", "r0-a", "r0-b", "50%", "2"]
    assert any("6 phases, 12 steps" in line for line in lines)
    assert any(finished.split.sha256[:16] in line for line in lines)
    rows = {tuple(line.split()[:-2]): line.split()[-2:] for line in lines}
    labelled = ["3", set_sha256(finished.split.labelled)]
    assert rows["labelled,", "network", "a"] == rows["labelled,", "network", "b"] == labelled
    assert rows["unlabelled",] == ["21", set_sha256(finished.split.unlabelled)]


def test_scores_table_leaves_absent_classes_blank():
    table = scores_table({"a": Scores(0.5, (0.25, None, 0.75), 0.9)}, ["x", "y", "z"])
    assert [line.split() for line in table.splitlines()[2:]] == [
        ["x", "25.0"],
        ["y", "-"],
        ["z", "75.0"],
        ["mIoU", "50.0"],
    ]
