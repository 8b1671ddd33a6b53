from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.levels import CERTAIN, level_of
from dmtc.pseudo import LEVELS, class_balanced_thresholds, confidence_histogram, level_confidence, predict_with_log_odds
from dmtc.pseudo.selection import threshold_levels

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "class_balanced_labels.npz")
RATIOS = ["0.2", "0.4", "0.6", "0.8"]


def golden_predictions():
    """Per image: predicted class, confidence and log-odds, from the golden logits."""
    logits = torch.from_numpy(GOLDEN["logits_low"])
    logits = torch.nn.functional.interpolate(
        logits, size=tuple(GOLDEN["padded_size"]), mode="bilinear", align_corners=True
    )
    for image, (height, width) in zip(logits, GOLDEN["sizes"], strict=True):
        cut = image[None, :, :height, :width]
        label, log_odds = predict_with_log_odds(cut)
        yield label[0], cut.softmax(1).amax(1)[0], log_odds[0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_golden_thresholds_and_labels_with_fine_bins(ratio):
    """Bins of 2^-22 are finer than the gaps between the golden confidences, so every label must come out."""
    bins = 2**22
    histogram = np.zeros((6, bins), np.int64)
    images = list(golden_predictions())
    for label, confidence, _ in images:
        sampled = label.flatten()[::16], (confidence.double().flatten()[::16] * bins).long().clamp(max=bins - 1)
        np.add.at(histogram, tuple(part.numpy() for part in sampled), 1)
    thresholds = class_balanced_thresholds(histogram, float(ratio))
    np.testing.assert_allclose(thresholds, GOLDEN[f"thresholds_{ratio}"], atol=1e-5)
    for i, (label, confidence, _) in enumerate(images):
        kept = torch.where(confidence >= torch.from_numpy(thresholds)[label], label, 255)
        np.testing.assert_array_equal(kept.numpy(), GOLDEN[f"label_{ratio}_{i}"])
        np.testing.assert_allclose(confidence.numpy(), GOLDEN[f"confidence_{i}"], atol=1e-6)


@pytest.mark.parametrize("ratio", RATIOS)
def test_golden_labels_with_the_stored_levels(ratio):
    """The store's levels move a threshold by half a step at most: hardly a pixel changes."""
    images = [(label, level_of(log_odds)) for label, _, log_odds in golden_predictions()]
    histogram = sum(confidence_histogram(label.flatten()[::16], level.flatten()[::16], 6) for label, level in images)
    lowest = torch.from_numpy(threshold_levels(histogram.numpy(), float(ratio)))
    different = total = kept = 0
    for i, (label, level) in enumerate(images):
        selected = torch.where(level >= lowest[label], label, 255).numpy()
        different += int((selected != GOLDEN[f"label_{ratio}_{i}"]).sum())
        kept += int((selected != 255).sum())
        total += selected.size
    assert different / total < 0.003
    assert kept / total == pytest.approx(float(GOLDEN[f"kept_{ratio}"]), abs=0.003)


def test_ratio_one_keeps_everything_although_a_class_is_never_predicted():
    histogram = np.array([[0, 5, 3], [0, 0, 0]])
    assert class_balanced_thresholds(histogram, 1.0).tolist() == [0, 0]
    assert threshold_levels(histogram, 1.0).tolist() == [0, 0]


def test_kept_share_by_brute_force():
    generator = np.random.default_rng(0)
    histogram = generator.integers(0, 50, (5, 300))
    for ratio in (0.1, 0.2, 0.5, 0.9):
        for row, lowest in zip(histogram, threshold_levels(histogram, ratio), strict=True):
            surest_first = np.repeat(np.arange(300)[::-1], row[::-1])
            wanted = int(row.sum() * ratio)
            assert surest_first[wanted] == lowest


def test_a_rare_class_keeps_everything():
    assert threshold_levels(np.array([[1, 1, 1, 0]]), 0.2).tolist() == [0]


def test_log_odds_levels_do_not_saturate_with_a_confident_teacher():
    """At these logits float32 probabilities are 1 for most pixels; the levels still tell them apart."""
    logits = torch.randn(1, 5, 200, 200, generator=torch.Generator().manual_seed(0)) * 30
    assert (logits.softmax(1).amax(1) == 1).float().mean() > 0.25
    label, log_odds = predict_with_log_odds(logits)
    histogram = confidence_histogram(label, level_of(log_odds), 5).numpy()
    lowest = torch.from_numpy(threshold_levels(histogram, 0.2))
    kept = (level_of(log_odds) >= lowest[label]).float().mean().item()
    assert kept == pytest.approx(0.2, abs=0.005)


def test_half_precision_logits_are_widened_first():
    logits = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    label, log_odds = predict_with_log_odds(logits)
    exact = predict_with_log_odds(logits.double().float())
    assert log_odds.dtype == torch.float32
    assert label.equal(exact[0])
    assert log_odds.equal(exact[1])


def test_levels_rise_and_are_close_together():
    confidence = level_confidence()
    assert (np.diff(confidence) >= 0).all()
    assert np.diff(confidence[1:]).max() < 0.002
    assert confidence[0] == 0, "of pixels that no teacher has seen"
    assert confidence[CERTAIN] == 1, "of a person's labels"
    assert level_of(torch.tensor(1 / 254).logit()) > 0, "where the surest of 255 classes is least sure"
    p = torch.linspace(0.01, 0.999, 997)
    assert np.abs(confidence[level_of(torch.logit(p)).numpy()] - p.numpy()).max() < 0.001
    assert level_of(torch.tensor([-torch.inf, torch.inf])).tolist() == [0, LEVELS - 1]


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.01])
def test_bad_ratio(ratio):
    with pytest.raises(ConfigError, match="label ratio should be above 0 and at most 1"):
        class_balanced_thresholds(np.ones((2, 4)), ratio)
