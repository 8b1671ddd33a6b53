"""Pseudo-labels against a truth that is known for some of the images, recomputed pixel by pixel."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from dmtc.core.levels import level_of
from dmtc.data import Dataset
from dmtc.evaluation import confusion_counts, scores_of
from dmtc.evaluation.quality import hold_against_truth, score_pseudo_labels, share_of
from dmtc.pseudo import LEVELS, PseudoLabelStore, level_confidence

CLASSES, IDS = 4, [f"t{i}" for i in range(6)]
TRUE_OF = IDS[:4]  # of t4 the mask is damaged, t5 has none


class Masks(Dataset):
    """A data set whose masks lie in memory."""

    def mask(self, id):
        return self.decode_mask(self.masks[id])


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A teacher that is right as often as it is sure, but never predicts class 3; store, truth, and all the arrays."""
    from dmtc.core.errors import DataError

    generator = np.random.default_rng(5)
    store = PseudoLabelStore(tmp_path_factory.mktemp("store"))
    histogram = np.zeros((CLASSES, LEVELS), np.int64)
    predictions, truths = {}, {}
    for id in IDS:
        label = generator.integers(0, CLASSES - 1, (64, 80), np.uint8)
        sure = generator.uniform(0.3, 0.99, label.shape)
        level = level_of(torch.from_numpy(np.log(sure / (1 - sure)))).numpy().astype(np.uint16)
        other = (label + generator.integers(1, CLASSES, label.shape)) % CLASSES
        truth = np.where(generator.random(label.shape) < level_confidence()[level], label, other).astype(np.uint8)
        truth[:5] = 255
        store.write(id, label, level)
        np.add.at(histogram, (label, level), 1)
        predictions[id], truths[id] = (label, level), truth
    store.finish(histogram, images=len(IDS), seconds=1.0)

    def decode(id):
        if id not in TRUE_OF:
            raise DataError("damaged")
        return truths[id]

    ids = dict.fromkeys(IDS[:5])
    data = Masks(
        name="case",
        classes=tuple("wxyz"),
        palette=np.zeros((CLASSES, 3), np.uint8),
        images={id: id for id in IDS},
        masks={id: id for id in ids},
        train=tuple(IDS),
        val=(),
        decode_mask=decode,
    )
    return store, data, predictions, {id: truths[id] for id in TRUE_OF}


@pytest.mark.parametrize("ratio", [0.2, 0.7, 1.0])
def test_shares_are_those_of_a_count_by_hand(case, ratio):
    store, data, predictions, truths = case
    selection = hold_against_truth(store, 0.5, IDS, data).at(ratio)
    selected = store.select(ratio)
    kept = {id: selected.read(id)[0] for id in IDS}
    labels = np.stack([predictions[id][0] for id in IDS])
    all_kept = np.stack([kept[id] for id in IDS])
    mine, truth = np.stack([kept[id] for id in truths]), np.stack(list(truths.values()))
    assert selection.coverage == pytest.approx((all_kept != 255).mean())
    np.testing.assert_array_equal(selection.thresholds[:3], selected.confidences[:3])
    assert np.isnan(selection.thresholds[3])
    for c in range(CLASSES):
        of_class, known = mine == c, (mine == c) & (truth != 255)
        if c < 3:
            assert selection.realized[c] == pytest.approx((all_kept == c).sum() / (labels == c).sum())
            assert selection.precision[c] == pytest.approx((truth == c)[known].mean())
        else:
            assert np.isnan(selection.realized[c])
            assert np.isnan(selection.precision[c])
        assert selection.recall[c] == pytest.approx((of_class & (truth == c)).sum() / (truth == c).sum())
    known = (mine != 255) & (truth != 255)
    assert selection.accuracy == pytest.approx((mine == truth)[known].mean())


def test_scores_and_images_are_of_the_ratio_asked_for(case):
    store, data, _, truths = case
    quality = hold_against_truth(store, 0.4, IDS, data)
    counts, images = torch.zeros(CLASSES, CLASSES, dtype=torch.int64), {}
    for id, truth in truths.items():
        label, _ = store.select(0.4).read(id)
        compared = torch.from_numpy(np.where(label == 255, 255, truth)).long()
        counts += confusion_counts(torch.from_numpy(label).long().clamp(max=3), compared, CLASSES)
        images[id] = ((label != 255).mean(), ((label != 255) & (label != truth) & (truth != 255)).sum() / (59 * 80))
    assert quality.scores == scores_of(counts, absent="left_out")
    assert {one.id: (one.coverage, one.wrong) for one in quality.images} == {
        id: (pytest.approx(coverage), pytest.approx(wrong)) for id, (coverage, wrong) in images.items()
    }
    assert [one.id for one in quality.worst(2)] == sorted(images, key=lambda id: -images[id][1])[:2]


def test_calibration_of_a_teacher_that_is_right_as_often_as_it_is_sure(case):
    store, data, predictions, truths = case
    calibration = hold_against_truth(store, 1.0, IDS, data).calibration(10)
    assert calibration.error()[:3] == pytest.approx(0, abs=0.03)
    assert np.isnan(calibration.error()[3])
    assert (calibration.pixels[:, :2] == 0).all()
    overall = calibration.overall()
    label, level = (np.stack([predictions[id][i] for id in truths]) for i in range(2))
    truth, sureness = np.stack(list(truths.values())), level_confidence()[level]
    for number in range(10):
        inside = (sureness >= number / 10) & (sureness < (number + 1) / 10) & (truth != 255)
        assert overall.pixels[0, number] == inside.sum()
        if inside.any():
            assert overall.confidence[0, number] == pytest.approx(sureness[inside].mean())
            assert overall.accuracy[0, number] == pytest.approx((label == truth)[inside].mean())


def test_an_overconfident_teacher_has_an_error(case):
    quality = hold_against_truth(case[0], 1.0, IDS, case[1])
    half_right = dataclasses.replace(quality, right=quality.right // 2)
    assert half_right.calibration().overall().error()[0] > 0.2


def test_the_order_of_images_changes_nothing_but_theirs(case):
    """Those without a truth may come first."""
    store, data, _, _ = case
    one, other = (hold_against_truth(store, 0.5, ids, data) for ids in (IDS, IDS[::-1]))
    assert one.known.sum() > 0
    np.testing.assert_array_equal(one.known, other.known)
    assert {image.id for image in other.images} == set(TRUE_OF)


def test_a_share_of_a_single_pixel_is_a_share():
    np.testing.assert_array_equal(share_of([1, 0, 0], [1, 1, 0]), [1.0, 0.0, np.nan])


def test_what_is_reported_is_json_with_and_without_truth(case):
    store, data, _, _ = case
    with_truth = score_pseudo_labels(store, 0.5, IDS, data)
    content = dataclasses.asdict(with_truth)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert with_truth.scored == len(TRUE_OF) == len(with_truth.worst)
    assert with_truth.recall[3] == 0.0
    assert with_truth.precision[3] is None
    assert with_truth.thresholds[3] is None
    calibration = with_truth.calibration
    np.testing.assert_allclose(calibration["accuracy"], calibration["confidence"], atol=0.05)
    assert calibration["confidence"] == sorted(calibration["confidence"])
    assert sum(calibration["share"]) == pytest.approx(1)
    assert calibration["error"] < 0.03
    without = score_pseudo_labels(store, 0.5, IDS, None)
    assert without.coverage == with_truth.coverage
    assert without.thresholds == with_truth.thresholds
    nothing = ("accuracy", "miou", "per_class_iou", "precision", "recall", "calibration")
    assert {key: getattr(without, key) for key in nothing} == dict.fromkeys(nothing)
    assert without.worst == []
