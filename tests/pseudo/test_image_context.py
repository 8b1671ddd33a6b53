"""Labels in the light of the whole image: probability moves among the classes that only some images hold."""

import json

import numpy as np
import pytest
import torch

import dmtc
from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import ConfigError
from dmtc.pseudo.context import SMOOTHING, ImageContext
from shown import teacher

COUNTS = ClassCounts(masks=10, pixels=[700, 100, 50, 0], images=[10, 3, 2, 0])
"""Background in every image, two classes in some, one in none."""


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1)) * 2
    valid = torch.ones(2, 5, 6, dtype=torch.bool)
    valid[0, :, 4:] = False
    return logits, valid


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_formula_in_plain_numpy(strength):
    logits, valid = maps()
    moved = ImageContext.of_labelled(COUNTS, strength)(logits, valid).exp().numpy()
    before = logits.softmax(dim=1).numpy()
    for image in range(2):
        p = before[image][[1, 2]]
        mean = p[:, valid[image].numpy()].sum(axis=1)
        weights = ((mean / mean.sum() + SMOOTHING) / (np.array([2 / 3, 1 / 3]) + SMOOTHING)) ** strength
        weighted = p * weights[:, None, None]
        expected = weighted * p.sum(axis=0) / weighted.sum(axis=0)
        np.testing.assert_allclose(moved[image][[1, 2]], expected, rtol=1e-4)
        np.testing.assert_allclose(moved[image][[0, 3]], before[image][[0, 3]], rtol=1e-5)


def test_padding_has_no_say():
    logits, valid = maps()
    other = logits.clone()
    other[0, :, :, 4:] = torch.tensor([0.0, 9.0, 0.0, 0.0])[:, None, None]
    context = ImageContext.of_labelled(COUNTS, 1.0)
    assert torch.equal(context(logits, valid)[0, :, :, :4], context(other, valid)[0, :, :, :4])
    nothing = torch.zeros_like(valid)
    torch.testing.assert_close(context(logits, nothing), logits.log_softmax(dim=1))


@pytest.mark.parametrize("images", [[10, 10, 9, 0], [10, 3, 10, 0], [10, 0, 0, 0]])
def test_with_fewer_than_two_occasional_classes_nothing_moves(images):
    logits, valid = maps()
    context = ImageContext.of_labelled(ClassCounts(10, COUNTS.pixels, images), 1.0)
    assert torch.equal(context(logits, valid), logits.log_softmax(dim=1))


def test_half_precision_logits_become_float32():
    logits, valid = maps()
    assert ImageContext.of_labelled(COUNTS, 1.0)(logits.bfloat16(), valid).dtype == torch.float32


@pytest.mark.parametrize("context", [-0.1, 1.5])
def test_an_impossible_strength_is_refused(context):
    with pytest.raises(ConfigError, match=r"teacher\.context should be a number from 0 to 1"):
        teacher("average", decay=0.9, context=context)


def test_a_run_counts_the_classes_once_and_labels_by_them(small, tmp_path, monkeypatch):
    given = [*small, "method=crescendo", "run.report=false"]
    run = dmtc.train(dmtc.compose([*given, "teacher.context=1.0"]), tmp_path / "with")
    without = dmtc.train(dmtc.compose([*given, "teacher.context=0.0"]), tmp_path / "without")
    stored = json.loads((tmp_path / "with" / "split.json").read_text())
    assert stored["class_counts"]["masks"] == len(run.split.labelled)
    assert "class_counts" not in json.loads((tmp_path / "without" / "split.json").read_text())
    theirs, plain = (dict(one.model().named_parameters()) for one in (run, without))
    assert any(not torch.equal(theirs[name], plain[name]) for name in plain), "other labels, other weights"

    def refused(*_):
        raise AssertionError("counted again")

    monkeypatch.setattr("dmtc.engine.components.count_classes", refused)
    assert dmtc.resume(tmp_path / "with").results["miou"] == run.results["miou"]
