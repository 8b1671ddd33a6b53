"""`job=next`: which unlabelled images are worth labelling next, as a table and as a page, on a run of two steps."""

import csv
import json
from math import log

import numpy as np
import pytest
import torch

from dmtc.report.worth_labelling import Candidate, doubt_of, pick


@pytest.fixture
def following(command, finished, tmp_path):
    """`following("count=3")` -> exit code, stdout, stderr; the results lie in tmp_path/out."""

    def call(*arguments):
        given = ("job=next", f"run={finished.folder.path}", "output=out", "run.device=cpu", *arguments)
        return command(*given, small_run=False)

    return call


def said(*values: float):
    """A predictor that gives every pixel these logits."""

    def predict(images: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = images.shape
        return torch.tensor(values)[None, :, None, None].expand(batch, -1, height, width)

    return predict


def test_doubt_is_entropy_and_disagreement():
    images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    alone = doubt_of([said(0.0, 0.0)], images)
    assert alone.differs is None
    torch.testing.assert_close(alone.pixels, torch.ones(2, 4, 5))
    sure = log(9.0)  # probabilities 0.9 and 0.1
    agreed = doubt_of([said(sure, 0.0), said(sure, 0.0)], images)
    entropy = -(0.9 * log(0.9) + 0.1 * log(0.1)) / log(2)
    torch.testing.assert_close(agreed.pixels, torch.full((2, 4, 5), entropy / 2))
    torn = doubt_of([said(sure, 0.0), said(0.0, sure)], images)
    torch.testing.assert_close(torn.pixels, torch.ones(2, 4, 5))


def test_picks_cover_classes_before_they_repeat_one():
    doubts = {"a": [1.0, 0.0, 0.0], "b": [0.9, 0.0, 0.0], "c": [0.0, 0.5, 0.0], "d": [0.0, 0.0, 0.1]}
    picks = pick([Candidate(name, 0.0, None, np.array(doubt)) for name, doubt in doubts.items()], 9)
    assert [one.candidate.id for one in picks] == ["a", "c", "b", "d"]
    np.testing.assert_allclose([one.gain for one in picks], [1.0, 0.5**0.5, 1.9**0.5 - 1, 0.1**0.5])


def test_table_record_and_page_name_the_same_images(following, finished, tmp_path):
    code, out, _ = following("count=3")
    assert code == 0
    record = json.loads((tmp_path / "out" / "next.json").read_text("utf-8"))
    ids = [one["image"] for one in record["images"]]
    assert len(set(ids)) == 3
    assert set(ids) <= set(finished.components.split.unlabelled)
    with (tmp_path / "out" / "next.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ids
    gains = [float(one["gain"]) for one in record["images"]]
    assert gains == sorted(gains, reverse=True)
    assert all(0 <= one["entropy"] <= 1 and 0 <= one["disagreement"] <= 1 for one in record["images"])
    page = (tmp_path / "out" / "next.html").read_text("utf-8")
    for name in ids:
        assert name in out
        assert name in page
    assert page.count("<img") == 3 * 4


def test_one_network_has_no_disagreement_and_more_images_than_there_are_give_all(following, finished, tmp_path):
    code, out, _ = following("count=10000", "job.networks=a")
    assert code == 0
    assert "disagreement" not in out
    record = json.loads((tmp_path / "out" / "next.json").read_text("utf-8"))
    assert sorted(one["image"] for one in record["images"]) == sorted(finished.components.split.unlabelled)


def test_a_second_call_replaces_the_first_and_nobody_elses_files(following, tmp_path):
    assert following("count=2")[0] == 0
    assert following("count=1")[0] == 0
    mine = tmp_path / "other" / "next.csv"
    mine.parent.mkdir()
    mine.write_text("mine")
    code, _, error = following("count=1", "output=other")
    assert code == 2
    assert "next.csv" in error
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count=0"], "job.count should be 1 or more, but is 0"),
        (["job.checkpoint=first"], "job.checkpoint should be last or best"),
        (["job.networks=c"], "network"),
    ],
)
def test_impossible_options_end_with_one_line(following, tmp_path, arguments, message):
    code, _, error = following(*arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
