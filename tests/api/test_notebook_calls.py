"""Calls for notebooks: tables as rows, slices, scores, exports, devices."""

import csv
import io
import shutil

import numpy as np
import pytest
import torch

import dmtc
from dmtc.core.errors import ConfigError, DataError


def test_table_of_a_run(finished):
    rows = finished.table()
    assert [row["phase"] for row in rows] == [phase.name for phase in finished.plan]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}, "the same keys in each"
    records = {record["name"]: record for record in finished.results["phases"]}
    for row in rows:
        assert row["miou"] == records[row["phase"]]["miou_last"]
        assert (row["label_ratio"] is None) == (row["teacher"] is None) == (row["pseudo_coverage"] is None)
    csv.DictWriter(io.StringIO(), rows[0]).writerows(rows)


def test_table_of_an_unfinished_run(finished, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "run")
    for phase in ("r2-a", "r2-b"):
        shutil.rmtree(tmp_path / "run" / "phases" / phase)
    (tmp_path / "run" / "results.json").unlink()
    last = dmtc.Run.load(tmp_path / "run").table()[-1]
    assert (last["phase"], last["miou"], last["seconds"]) == ("r2-b", None, None)
    [row] = dmtc.table(tmp_path)
    assert (row["state"], row["method"], row["miou"], row["seed"]) == ("unfinished", "dmtc", None, 0)


def test_table_of_a_folder(finished, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "sweep" / "0")
    [row] = dmtc.table(tmp_path)
    assert (row["run"], row["state"], row["method"], row["dataset"]) == ("sweep/0", "finished", "dmtc", "synthetic")
    assert row["miou"] == finished.results["miou"]["mean_last"]
    assert row["miou_a"] == finished.results["miou"]["a"]["last"]
    assert row["labelled"] == len(finished.split.labelled)
    with pytest.raises(DataError, match="no such folder"):
        dmtc.table(tmp_path / "nowhere")


def test_pseudo_labels_are_sliced_without_reading(finished, monkeypatch):
    labels = finished.pseudo_labels("r1-a")
    read = []
    monkeypatch.setattr(type(labels), "of", lambda self, id: read.append(id) or id)
    some = labels[1:7:2]
    assert read == []
    assert list(some) == list(labels.ids[1:7:2])
    assert some[-1] == labels.ids[5]
    assert len(some[:0]) == 0


def test_evaluate_scores_as_the_run_did(finished):
    scores = finished.evaluate()
    assert list(scores) == ["a", "b", "ensemble"]
    assert scores["ensemble"].miou == pytest.approx(finished.results["miou"]["ensemble"])
    assert scores["a"].miou == pytest.approx(finished.results["miou"]["a"]["last"])
    flipped = finished.evaluate({"name": "original", "flip": True}, checkpoint="best")
    assert flipped["a"].miou != scores["a"].miou
    for wrong, told in (
        ({"evaluation": "orginal"}, "orginal"),
        ({"evaluation": {"flip": True}}, "should be a name"),
        ({"part": "train"}, "should be one of auto, val"),
        ({"checkpoint": "first"}, "checkpoint should be last or best"),
    ):
        with pytest.raises(ConfigError, match=told):
            finished.evaluate(**wrong)


def test_evaluate_on_other_data(finished, small):
    """The same pictures named anew: the command's `dataset.root=DIR`."""
    options = [one for one in small if one.startswith("dataset.")]
    assert finished.evaluate(data=options, part="val")["a"].iou == finished.evaluate(part="val")["a"].iou


def test_export(finished, tmp_path):
    exported = finished.export(output=tmp_path / "exported", networks="a")
    segmenter = dmtc.Segmenter.from_pretrained(exported.path.parent)
    image = np.zeros((20, 24, 3), np.uint8)
    np.testing.assert_array_equal(segmenter.predict(image), finished.predict(image, ensemble="a"))
    with pytest.raises(ConfigError, match="Known"):
        finished.export("safetensor", tmp_path / "other")


def test_to_moves_networks_now_and_later(finished):
    run = dmtc.Run.load(finished.folder.path)
    first = run.model("a")
    with pytest.raises(ConfigError, match=r"no such device|is not a device"):
        run.to("tpu")
    assert run.to(torch.device("cpu")) is run
    assert next(first.parameters()).device.type == next(run.model("b").parameters()).device.type == "cpu"
    moved = []
    first.to = moved.append
    run.to("cpu")
    assert moved == ["cpu"]
