"""The losses of labelled images beside cross-entropy: Dice, Lovász, focal, smoothed and weighted cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F

from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX
from dmtc.losses import (
    LOSSES,
    CrossEntropy,
    Dice,
    Focal,
    LovaszSoftmax,
    SmoothedCrossEntropy,
    WeightedCrossEntropy,
)
from dmtc.losses.class_weights import LabelledClasses, weights_by_rule

WEIGHTED = {"class_weights": [1.0, 2.0, 4.0], "beta": 0.0, "label_smoothing": 0.1}
SPECS = {
    "dice": {"smooth": 1.0},
    "lovasz": {},
    "focal": {"gamma": 2.0},
    "smoothed_cross_entropy": {"label_smoothing": 0.1},
    "weighted_cross_entropy": WEIGHTED,
}
every_loss = pytest.mark.parametrize("name", SPECS)


def built(name):
    return LOSSES.build({"name": name, **SPECS[name]}, classes=None)


@pytest.fixture
def label():
    one = [[0, 1, 2, 0], [2, IGNORE_INDEX, 1, 1], [0, 2, IGNORE_INDEX, 0]]
    other = [[0, 0, 0, 0], [1, IGNORE_INDEX, 1, 1], [0, 0, IGNORE_INDEX, 0]]  # class 2 is absent
    return torch.tensor([one, other])


@pytest.fixture
def logits():
    return torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(0))


@every_loss
def test_gradient_of_low_resolution_logits(name, label):
    logits = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: built(name)(x, label).loss, logits)


@every_loss
def test_all_ignored_gives_zero_with_zero_gradient(name, label):
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    value = built(name)(logits, torch.full_like(label, IGNORE_INDEX))
    value.loss.backward()
    assert value.loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    assert not value.divisor


@every_loss
def test_half_precision_logits_are_computed_in_full_precision(name, label, logits):
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = built(name)(half, label).loss
    assert loss.dtype == torch.float32
    assert loss == built(name)(half.float(), label).loss


@every_loss
def test_what_is_ignored_changes_nothing(name, label, logits):
    changed = logits.clone()
    changed[(label == IGNORE_INDEX)[:, None].expand_as(logits)] += 100.0
    torch.testing.assert_close(built(name)(changed, label).loss, built(name)(logits, label).loss)


@every_loss
def test_finite_where_all_is_right_and_where_all_is_wrong(name, label):
    right = F.one_hot(label.where(label != IGNORE_INDEX, 0), 3).movedim(-1, 1) * 200.0
    for logits in (right, -right):
        logits.requires_grad_()
        loss = built(name)(logits, label).loss
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()
    assert built(name)(right, label).loss < built(name)(-right, label).loss


@every_loss
def test_parts_of_a_batch_add_up_by_their_divisors(name, label, logits):
    label[1, 0] = IGNORE_INDEX
    whole = built(name)(logits, label)
    parts = [built(name)(logits[row : row + 1], label[row : row + 1]) for row in (0, 1)]
    numbers = [
        (label[row] != IGNORE_INDEX).sum() if part.divisor is None else part.divisor for row, part in enumerate(parts)
    ]
    together = sum(part.loss * number for part, number in zip(parts, numbers, strict=True)) / sum(numbers)
    torch.testing.assert_close(together, whole.loss)


def test_dice_equals_the_naive_sums(label, logits):
    p = logits.softmax(1)
    of_images = []
    for image in range(2):
        losses = []
        for c in range(3):
            pixels = [(y, x) for y in range(3) for x in range(4) if label[image, y, x] != IGNORE_INDEX]
            truth = [float(label[image, y, x] == c) for y, x in pixels]
            shares = [p[image, c, y, x].item() for y, x in pixels]
            if any(truth):
                overlap = sum(t * share for t, share in zip(truth, shares, strict=True))
                losses.append(1 - (2 * overlap + 0.5) / (sum(truth) + sum(shares) + 0.5))
        of_images.append(sum(losses) / len(losses))
    assert Dice(smooth=0.5)(logits, label).loss.item() == pytest.approx(sum(of_images) / 2, abs=1e-6)


def jaccard_loss(wrong, truth):
    """One minus the IoU of a class if just these pixels are wrong."""
    union = truth | wrong
    return len(wrong) / len(union) if union else 0.0


def test_lovasz_equals_the_naive_extension(label, logits):
    """The extension of a set function: sorted errors times what each pixel adds to the Jaccard loss."""
    p = logits.softmax(1)
    of_images = []
    for image in range(2):
        losses = []
        for c in range(3):
            pixels = [(y, x) for y in range(3) for x in range(4) if label[image, y, x] != IGNORE_INDEX]
            truth = {at for at in pixels if label[image, at[0], at[1]] == c}
            error = {(y, x): abs(float((y, x) in truth) - p[image, c, y, x].item()) for y, x in pixels}
            loss, wrong = 0.0, set()
            for at in sorted(pixels, key=lambda at: -error[at]):
                loss += error[at] * (jaccard_loss(wrong | {at}, truth) - jaccard_loss(wrong, truth))
                wrong.add(at)
            if truth:
                losses.append(loss)
        of_images.append(sum(losses) / len(losses))
    assert LovaszSoftmax()(logits, label).loss.item() == pytest.approx(sum(of_images) / 2, abs=1e-6)


def test_lovasz_of_hard_predictions_is_one_minus_the_iou():
    label = torch.tensor([[[0, 0, 0, 1, 1, 255]]])
    predicted = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    logits = F.one_hot(predicted, 2).movedim(-1, 1) * 100.0
    expected = 1 - (2 / 3 + 2 / 3) / 2
    assert LovaszSoftmax()(logits, label).loss.item() == pytest.approx(expected)


def test_focal_equals_the_formula_and_is_cross_entropy_at_zero(label, logits):
    p = logits.softmax(1).gather(1, label.where(label != IGNORE_INDEX, 0)[:, None])[:, 0][label != IGNORE_INDEX]
    for gamma in (0.5, 1.0, 2.0):
        torch.testing.assert_close(Focal(gamma=gamma)(logits, label).loss, (-((1 - p) ** gamma) * p.log()).mean())
    torch.testing.assert_close(Focal(gamma=0.0)(logits, label).loss, CrossEntropy()(logits, label).loss)


def test_smoothed_equals_the_naive_target(label, logits):
    log_p = logits.log_softmax(1)
    target = F.one_hot(label.where(label != IGNORE_INDEX, 0), 3).movedim(-1, 1) * 0.9 + 0.1 / 3
    expected = -(target * log_p).sum(1)[label != IGNORE_INDEX].mean()
    torch.testing.assert_close(SmoothedCrossEntropy(label_smoothing=0.1)(logits, label).loss, expected)
    torch.testing.assert_close(
        SmoothedCrossEntropy(label_smoothing=0.0)(logits, label).loss, CrossEntropy()(logits, label).loss
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_equals_pytorch_for_any_scale_of_the_weights(label, logits, smoothing):
    weight = torch.tensor([1.0, 2.0, 4.0])
    expected = F.cross_entropy(logits, label, weight, ignore_index=IGNORE_INDEX, label_smoothing=smoothing)
    for scale in (1.0, 1e-3, 1e3):
        loss = WeightedCrossEntropy(class_weights=(weight * scale).tolist(), beta=0.0, label_smoothing=smoothing)
        torch.testing.assert_close(loss(logits, label).loss, expected)


def test_a_class_of_weight_zero_is_not_learned(label, logits):
    loss = WeightedCrossEntropy(class_weights=[1.0, 0.0, 1.0], beta=0.0, label_smoothing=0.0)
    without = label.where(label != 1, IGNORE_INDEX)
    torch.testing.assert_close(loss(logits, label).loss, CrossEntropy()(logits, without).loss)
    only = label.where(label == 1, IGNORE_INDEX)
    assert loss(logits, only).loss == 0


def test_golden_numbers_by_hand():
    """Probabilities 1/4 and 3/4 of two classes, two pixels of class 0 and one of class 1."""
    logits = torch.tensor([1.0, 3.0]).log()[None, :, None, None].expand(1, 2, 1, 3)
    label = torch.tensor([[[0, 0, 1]]])
    # Dice: 2 * 0.5 / (0.75 + 2) = 4/11 and 2 * 0.75 / (2.25 + 1) = 6/13
    assert Dice(smooth=0.0)(logits, label).loss.item() == pytest.approx(1 - (4 / 11 + 6 / 13) / 2)
    # Lovász: errors 3/4 3/4 1/4 of class 0, the IoU loss 1/2 1 1; 3/4 3/4 1/4 of class 1, 1/2 2/3 1
    assert LovaszSoftmax()(logits, label).loss.item() == pytest.approx((3 / 4 + 3 / 4 * 2 / 3 + 1 / 4 * 1 / 3) / 2)
    # focal: twice (3/4)^2 log 4 and once (1/4)^2 log 4/3
    focal = (2 * 9 / 16 * math.log(4) + 1 / 16 * math.log(4 / 3)) / 3
    assert Focal(gamma=2.0)(logits, label).loss.item() == pytest.approx(focal)


def test_weights_by_rule():
    pixels = [100, 10_000, 0]
    assert weights_by_rule("inverse_frequency", pixels, 0.0) == pytest.approx([300 / 201, 3 / 201, 300 / 201])
    assert weights_by_rule("inverse_square_root", pixels, 0.0) == pytest.approx([30 / 21, 3 / 21, 30 / 21])
    rare, frequent, absent = weights_by_rule("effective_number", pixels, 0.99)
    assert rare / frequent == pytest.approx((1 - 0.99**10_000) / (1 - 0.99**100))
    assert absent == rare
    assert weights_by_rule("effective_number", pixels, 0.0) == [1.0, 1.0, 1.0]
    assert weights_by_rule("inverse_frequency", [0, 0], 0.0) == [1.0, 1.0]
    nearly_one = weights_by_rule("effective_number", [10, 1000], 1 - 1e-12)
    assert nearly_one[0] / nearly_one[1] == pytest.approx(100, rel=1e-3)


def test_pixels_are_counted_once_and_only_when_needed():
    calls = []
    classes = LabelledClasses(2, lambda: calls.append(1) or ClassCounts(1, [30, 10], [1, 1]))
    loss = WeightedCrossEntropy(class_weights="inverse_frequency", beta=0.0, label_smoothing=0.0, classes=classes)
    assert not calls
    assert classes.counted is None
    for _ in range(2):
        loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long))
        assert loss.weights_of_classes() == [0.5, 1.5]
    assert calls == [1]
    assert classes.counted == ClassCounts(1, [30, 10], [1, 1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dice", {"smooth": -1.0}, "Dice.smooth should be at least 0"),
        ("focal", {"gamma": -1.0}, "Focal.gamma should be at least 0"),
        ("smoothed_cross_entropy", {"label_smoothing": 1.0}, "label_smoothing should be at least 0 and below 1"),
        ("weighted_cross_entropy", WEIGHTED | {"beta": 1.0}, "beta should be at least 0 and below 1"),
        ("weighted_cross_entropy", WEIGHTED | {"class_weights": [0.0, 0.0]}, "not all of them 0"),
        ("weighted_cross_entropy", WEIGHTED | {"class_weights": []}, "not all of them 0"),
        ("weighted_cross_entropy", WEIGHTED | {"class_weights": [1.0, -1.0]}, "at least 0"),
        ("weighted_cross_entropy", WEIGHTED | {"class_weights": [1.0, 2.0]}, "a weight for each of the 3 classes"),
        ("weighted_cross_entropy", WEIGHTED | {"class_weights": "median"}, "class_weights should be"),
    ],
)
def test_faults(name, options, message):
    with pytest.raises(ConfigError, match=message):
        LOSSES.build(
            {"name": name, **options}, classes=LabelledClasses(3, lambda: ClassCounts(1, [1, 1, 1], [1, 1, 1]))
        )
