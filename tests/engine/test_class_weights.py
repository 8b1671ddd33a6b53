"""Class weights by the labelled masks: counted once, recorded, and kept by a resumed run."""

import json

import numpy as np
import pytest

import dmtc
import dmtc.engine.components
from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import ConfigError, DataError
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.counting_classes import count_classes
from dmtc.losses.class_weights import weights_by_rule
from dmtc.losses.terms import build_terms
from dmtc.machine.processes import ALONE
from dmtc.run.folder import RunFolder

WEIGHTED = ["method=supervised", "loss/labelled=weighted_cross_entropy"]


def test_weights_are_counted_once_and_recorded(small, tmp_path, monkeypatch):
    run = dmtc.train(dmtc.compose([*small, *WEIGHTED, "run.report=false"]), tmp_path / "run")
    dataset = Components(settle(dmtc.compose([*small, *WEIGHTED]))).dataset
    masks = [dataset.mask(id) for id in run.split.labelled]
    pixels = [sum(int(np.count_nonzero(mask == index)) for mask in masks) for index in range(dataset.num_classes)]
    images = [sum(int((mask == index).any()) for mask in masks) for index in range(dataset.num_classes)]
    stored = json.loads((tmp_path / "run" / "split.json").read_text())["class_counts"]
    assert stored == {"masks": len(masks), "pixels": pixels, "images": images}
    expected = dict(zip(dataset.classes, weights_by_rule("inverse_frequency", pixels, 0.0), strict=True))
    assert run.results["class_weights"] == {"supervised": expected}

    def refused(*_):
        raise AssertionError("counted again")

    monkeypatch.setattr(dmtc.engine.components, "count_classes", refused)
    assert Components.of(RunFolder(tmp_path / "run")).classes.counts() == ClassCounts(len(masks), pixels, images)
    assert dmtc.resume(tmp_path / "run").results["class_weights"] == {"supervised": expected}

    path = tmp_path / "run" / "split.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"class_counts": stored | {"images": [1, -2]}}))
    with pytest.raises(DataError, match=r"split\.json is damaged: class_counts should hold masks, and pixels"):
        RunFolder(tmp_path / "run").read_class_counts()


def test_unreadable_masks_are_left_out_only_where_training_leaves_them_out(small):
    dataset = Components(settle(dmtc.compose([*small, *WEIGHTED]))).dataset
    ids = list(dataset.masked[:2])
    whole = count_classes(dataset, ids, ALONE, "stop")
    assert count_classes(dataset, [*ids, "missing"], ALONE, "skip") == whole
    with pytest.raises(DataError, match="missing"):
        count_classes(dataset, [*ids, "missing"], ALONE, "stop")


def test_a_wrong_number_of_weights_is_told_before_anything_starts(small):
    given = [*small, *WEIGHTED, "loss.supervised.class_weights=[1.0,2.0]"]
    with pytest.raises(ConfigError, match=r"loss\.supervised: .*class_weights should be a weight for each of the \d+"):
        _ = Components(settle(dmtc.compose(given))).terms


@pytest.mark.sampled(2)
@pytest.mark.parametrize("added", ["dice", "lovasz"])
@pytest.mark.parametrize("method", ["dmt", "fixmatch"])
def test_a_second_term_has_the_weight_of_the_supervised_one(added, method):
    config = settle(dmtc.compose([f"method={method}", f"loss/labelled=cross_entropy_{added}"]))
    terms = {term.name: term for term in build_terms(config["loss"])}
    assert terms[added].weight == terms["supervised"].weight
    assert terms[added].rows.on == "labelled"
    config = settle(
        dmtc.compose([f"method={method}", f"loss/labelled=cross_entropy_{added}", f"loss.{added}.weight.start=0.5"])
    )
    terms = {term.name: term for term in build_terms(config["loss"])}
    assert (terms[added].weight.start, terms["supervised"].weight.start) == (0.5, 1.0)
