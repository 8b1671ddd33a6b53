"""Labels of a teacher within the step are compared with the truth for reports, and for nothing else."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import dmtc
from alike import what_came_of
from dmtc.data import Dataset
from dmtc.evaluation.taught import TaughtQuality
from dmtc.losses import SelectedCrossEntropy
from dmtc.losses.selection import Pixels
from dmtc.losses.terms import ActiveTerm, TermRows, selected_weights
from dmtc.machine.processes import ALONE
from marks import slow_but

METHODS = ["fixmatch_ema", "cps", "reco", "augseg"]
OF_LABELS = ("pseudo_coverage", "pseudo_accuracy", "pseudo_miou")
SHORT = ["model.backbone.width=4", "schedule.online.steps=4", "schedule.online.evaluations=2"]


def trained(small, method: str, folder: Path, *more: str) -> Path:
    return dmtc.train(dmtc.compose([*small, *SHORT, f"method={method}", *more]), folder).folder.path


def without_labels(came: dict) -> dict:
    for phase in came["results"]["phases"]:
        phase["pseudo"] = None
        phase["evaluations"] = [
            {key: value for key, value in each.items() if key not in OF_LABELS} for each in phase["evaluations"]
        ]
    return {part: came[part] for part in ("results", "files")}


@pytest.mark.parametrize("method", slow_but(METHODS, quick=["reco"]))
def test_scoring_labels_changes_no_result_and_masks_are_opened_for_it_alone(small, tmp_path, monkeypatch, method):
    opened: Counter[str] = Counter()
    read = Dataset.mask
    monkeypatch.setattr(Dataset, "mask", lambda self, id: (opened.update([id]), read(self, id))[1])
    sampled = trained(small, method, tmp_path / "sampled", "run.scored_unlabelled=3", "schedule.limit_steps=4")
    unlabelled = set(json.loads((sampled / "split.json").read_text())["unlabelled"])
    looked_at = {id: count for id, count in opened.items() if id in unlabelled}
    networks = 2 if method == "cps" else 1
    assert list(looked_at.values()) == [2 * networks] * 3, "the same images at both scorings"
    opened.clear()
    alone = trained(small, method, tmp_path / "alone", "run.score_pseudo_labels=false", "schedule.limit_steps=4")
    assert not unlabelled & opened.keys()
    for phase in json.loads((alone / "results.json").read_text())["phases"]:
        assert phase["pseudo"] is None
        assert not set(OF_LABELS) & set(phase["evaluations"][-1])
    for phase in json.loads((sampled / "results.json").read_text())["phases"]:
        pseudo, last = phase["pseudo"], phase["evaluations"][-1]
        assert pseudo["scored"] == 3
        assert 0 <= pseudo["coverage"] <= 1
        assert last["pseudo_coverage"] == pseudo["coverage"]
        assert last.get("pseudo_miou") == pseudo["miou"]
    lines = [json.loads(line) for line in (sampled / "metrics.jsonl").read_text().splitlines()]
    assert sum("pseudo_coverage" in line for line in lines) == 2 * networks
    assert without_labels(what_came_of(sampled)) == without_labels(what_came_of(alone))


def test_an_unreadable_mask_is_left_out(small, tmp_path, monkeypatch):
    def unreadable(self, id):
        if id in damaged:
            raise dmtc.core.errors.DataError("damaged")
        return read(self, id)

    read, config = Dataset.mask, dmtc.compose(small)
    damaged = set(dmtc.engine.components.Components(config).split.unlabelled[1:])
    monkeypatch.setattr(Dataset, "mask", unreadable)
    folder = trained(small, "fixmatch_ema", tmp_path / "run")
    assert json.loads((folder / "results.json").read_text())["phases"][0]["pseudo"]["scored"] == 1


def test_numbers_of_a_small_case():
    """Two images of two pixels; the last pixel's truth is unknown, and its label has half a weight."""
    quality = TaughtQuality(2)
    label, truth = torch.tensor([[[0, 1]], [[1, 1]]]), torch.tensor([[[0, 0]], [[1, 255]]])
    confidence, weight = torch.tensor([[[0.9, 0.6]], [[0.8, 0.7]]]), torch.tensor([[[1.0, 1.0]], [[0.0, 0.5]]])
    quality.add(("x", "y"), label, confidence, weight, truth)
    scores = quality.scores(ALONE)
    assert scores is not None
    assert scores.coverage == 2.5 / 4
    assert scores.accuracy == 0.5
    assert scores.miou == 0.25  # class 0: one of two pixels; class 1: none of one
    assert scores.realized == [1.0, 0.5]
    assert scores.precision == [1.0, 0.0]
    assert scores.recall == [0.5, 0.0]
    assert scores.worst[0] == {"id": "x", "coverage": 1.0, "wrong": 0.5}
    assert scores.calibration is not None
    np.testing.assert_allclose(scores.calibration["share"], [1 / 3] * 3)
    assert TaughtQuality(2).scores(ALONE) is None


def test_a_selection_that_learns_does_not_learn_from_a_report():
    loss = SelectedCrossEntropy(
        selection={"name": "running_threshold", "start": 0.85, "momentum": 0.5}, divisor="valid"
    )
    terms = [
        ActiveTerm("one", 1.0, loss, TermRows(on="unlabelled")),
        ActiveTerm("two", 3.0, SelectedCrossEntropy(selection={"name": "everything"}, divisor="valid")),
    ]
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    label, confidence = torch.tensor([[[0, 1, 255]]]), torch.tensor([[[0.99, 0.1, 1.0]]])
    weight = selected_weights(terms, Pixels(label, confidence, num_classes=2))
    assert weight.tolist() == [[[1.0, 0.75, 0.0]]]
    assert before
    assert all(value.equal(before[name]) for name, value in loss.state_dict().items())
    assert selected_weights([], Pixels(label, confidence, num_classes=2)).tolist() == [[[1.0, 1.0, 0.0]]]
