"""The mutual family against golden numbers, a per-pixel loop, and the properties every weighted loss must have."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX
from dmtc.losses import CrossEntropy, DynamicMutualLoss, DynamicSelfLoss, FlipLoss, OnlineLoss
from dmtc.losses.pseudo_label import _predictions

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "mutual_losses.npz")

CASES = {
    "mutual_g5_5": DynamicMutualLoss(gamma_agree=5, gamma_disagree=5),
    "mutual_g3_3": DynamicMutualLoss(gamma_agree=3, gamma_disagree=3),
    "mutual_g1_4": DynamicMutualLoss(gamma_agree=1, gamma_disagree=4),
    "mutual_g0_0": DynamicMutualLoss(gamma_agree=0, gamma_disagree=0),
    "naive": DynamicSelfLoss(gamma=5),
    "dst_g5": DynamicSelfLoss(gamma=5),
    "flip_g5_5": FlipLoss(gamma_agree=5, gamma_disagree=5),
    "online": OnlineLoss(threshold=0.9),
}
every_loss = pytest.mark.parametrize("loss", CASES.values(), ids=CASES.keys())


def golden_label():
    """The labels that the golden numbers were made from.

    The array `pseudo_label` of the file is not them: the published `online` loss writes its own labels into its
    input, and the array was saved afterwards. The gradient of plain cross-entropy tells the original: it is negative
    at the label alone, and zero where the pixel is ignored.
    """
    gradient = torch.tensor(GOLDEN["mutual_g0_0_grad"])
    return gradient.argmin(dim=1).where((gradient != 0).any(dim=1), IGNORE_INDEX)


def golden_inputs(dtype=torch.float32):
    logits = torch.tensor(GOLDEN["logits"], dtype=dtype)
    label = golden_label()
    confidence = torch.tensor(GOLDEN["pseudo_confidence"])
    is_pseudo = torch.arange(len(label)) < int(GOLDEN["num_pseudo"])
    return logits, label, confidence, is_pseudo


def small_inputs(seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 4, 5, 6, generator=g, dtype=torch.float64)
    label = torch.randint(4, (3, 5, 6), generator=g)
    label[torch.rand(label.shape, generator=g) < 0.2] = IGNORE_INDEX
    confidence = torch.rand(3, 5, 6, generator=g, dtype=torch.float64)
    return logits, label, confidence, torch.tensor([False, True, True])


def value_and_gradient(loss, logits, *rest):
    logits = logits.clone().requires_grad_()
    value = loss(logits, *rest)
    value.loss.backward()
    return value, logits.grad


@pytest.mark.parametrize("case", CASES)
def test_golden_value_gradient_and_logs(case):
    inputs = golden_inputs()
    value, gradient = value_and_gradient(CASES[case], *inputs)
    assert value.loss.item() == pytest.approx(float(GOLDEN[f"{case}_loss"]), rel=1e-5)
    np.testing.assert_allclose(gradient.numpy(), GOLDEN[f"{case}_grad"], rtol=1e-4, atol=1e-8)

    _, label, _, is_pseudo = inputs
    pseudo_pixels = int(((label != IGNORE_INDEX) & is_pseudo[:, None, None]).sum())
    names = {
        "avg_weights": "mean_weight",
        "loss": "cross_entropy",
        "disagree": "disagree",
        "current_win": "student_wins",
    }
    for golden_name, name in names.items():
        figure = float(GOLDEN.get(f"{case}_stat_{golden_name}", -1))
        if figure != -1:  # -1 marks what the published code did not count.
            counted = name in ("disagree", "student_wins")
            expected = figure / pseudo_pixels if counted else figure
            assert value.logs[name].item() == pytest.approx(expected, rel=1e-5), name


@every_loss
def test_pixel_weights_are_those_of_the_loss(loss):
    logits, label, confidence, _ = small_inputs()
    weights = loss.pixel_weights(logits.requires_grad_(), label, confidence)
    assert not weights.requires_grad
    everywhere = torch.ones(3, dtype=torch.bool)
    target, _ = loss.rule(_predictions(logits.detach().log_softmax(dim=1), label, confidence))
    counted = target != IGNORE_INDEX
    assert (weights[~counted] == 0).all()
    mean = loss(logits, label, confidence, everywhere).logs["mean_weight"]
    assert weights[counted].mean() == pytest.approx(mean.item())


def loop_reference(loss, logits, label, confidence, is_pseudo):
    """Value and gradient pixel by pixel, the gradient of a weighted cross-entropy written out: w (p - onehot) / n."""
    total, counted, gradient = 0.0, 0, torch.zeros_like(logits)
    for b, y, x in np.ndindex(*label.shape):
        p = logits[b, :, y, x].softmax(0)
        target, weight = int(label[b, y, x]), 1.0
        student, teacher_confidence = int(p.argmax()), float(confidence[b, y, x])
        if is_pseudo[b] and isinstance(loss, OnlineLoss):
            target = student if p[student] > loss.threshold else IGNORE_INDEX
        elif is_pseudo[b] and target != IGNORE_INDEX:
            wins = student != target and p[student] > teacher_confidence
            if isinstance(loss, DynamicSelfLoss):
                weight = float(p[target]) ** loss.gamma
            elif not wins:
                weight = float(p[target]) ** (loss.gamma_agree if student == target else loss.gamma_disagree)
            elif isinstance(loss, FlipLoss):
                target, weight = student, (1 - teacher_confidence) ** loss.gamma_disagree
            else:
                weight = 0.0
        if target != IGNORE_INDEX:
            counted += 1
            total -= weight * float(p[target].log())
            gradient[b, :, y, x] = weight * (p - torch.eye(len(p), dtype=p.dtype)[target])
    return total / counted, gradient / counted


@pytest.mark.parametrize(
    "loss",
    [
        DynamicMutualLoss(gamma_agree=2, gamma_disagree=0.5),
        DynamicMutualLoss(gamma_agree=0, gamma_disagree=1),
        DynamicSelfLoss(gamma=1.5),
        DynamicSelfLoss(gamma=0),
        FlipLoss(gamma_agree=2, gamma_disagree=0.5),
        OnlineLoss(threshold=0.5),
    ],
    ids=repr,
)
def test_equals_a_loop_over_pixels(loss):
    """The gradient of the loop holds the weights constant, so equality also shows that they carry none."""
    inputs = small_inputs()
    value, gradient = value_and_gradient(loss, *inputs)
    expected_value, expected_gradient = loop_reference(loss, *inputs)
    assert value.loss.item() == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(gradient, expected_gradient)


def test_two_by_two_by_hand():
    """Agreement, disagreement with the teacher surer, with the student surer, and an ignored pixel."""
    p = torch.tensor([[0.8, 0.3], [0.1, 0.5]])  # The student's probability of class 0, the pseudo-label.
    logits = torch.stack([p, 1 - p]).log().unsqueeze(0)
    label = torch.tensor([[[0, 0], [0, IGNORE_INDEX]]])
    confidence = torch.tensor([[[0.9, 0.75], [0.85, 0.5]]])
    value = DynamicMutualLoss(gamma_agree=2, gamma_disagree=1)(logits, label, confidence, torch.tensor([True]))

    expected = (0.8**2 * -np.log(0.8) + 0.3 * -np.log(0.3) + 0.0) / 3
    assert value.loss.item() == pytest.approx(expected, rel=1e-5)
    assert value.logs["disagree"].item() == pytest.approx(2 / 3)
    assert value.logs["student_wins"].item() == pytest.approx(1 / 3)
    assert value.logs["mean_weight"].item() == pytest.approx((0.64 + 0.3) / 3, rel=1e-5)
    assert value.logs["cross_entropy"].item() == pytest.approx(-np.log(0.8 * 0.3 * 0.1) / 3, rel=1e-5)


def test_both_gammas_zero_is_plain_cross_entropy_and_a_tiny_gamma_the_limit():
    logits, label, confidence, is_pseudo = small_inputs()
    plain = CrossEntropy()(logits, label).loss
    for rule in (DynamicMutualLoss, FlipLoss):
        value = rule(gamma_agree=0, gamma_disagree=0)(logits, label, confidence, is_pseudo)
        torch.testing.assert_close(value.loss, plain)
    limit = DynamicMutualLoss(gamma_agree=1e-9, gamma_disagree=1e-9)(logits, label, confidence, is_pseudo)
    expected, _ = loop_reference(DynamicMutualLoss(gamma_agree=0, gamma_disagree=0), *small_inputs())
    assert limit.loss.item() == pytest.approx(expected, rel=1e-6)
    assert limit.loss < plain


@every_loss
def test_without_pseudo_labels_it_is_plain_cross_entropy(loss):
    logits, label, confidence, is_pseudo = small_inputs()
    value = loss(logits, label, confidence, torch.zeros_like(is_pseudo))
    torch.testing.assert_close(value.loss, CrossEntropy()(logits, label).loss)
    assert value.logs["disagree"] == 0
    assert value.logs["mean_weight"] == 1


@every_loss
def test_ignored_pixels_have_no_influence(loss):
    logits, label, confidence, is_pseudo = golden_inputs()
    ignored = (label == IGNORE_INDEX).unsqueeze(1).expand_as(logits)
    if isinstance(loss, OnlineLoss):  # It labels the ignored pixels of pseudo-labelled images anew, by design.
        ignored = ignored & ~is_pseudo[:, None, None, None]
    assert ignored.any()
    value, gradient = value_and_gradient(loss, logits, label, confidence, is_pseudo)
    changed, changed_gradient = value_and_gradient(
        loss, logits + 50 * torch.randn_like(logits) * ignored, label, confidence, is_pseudo
    )
    assert gradient[ignored].abs().max() == 0
    assert changed.loss == value.loss
    assert torch.equal(changed_gradient, gradient)
    assert changed.logs == value.logs


@every_loss
def test_order_of_the_images_does_not_matter(loss):
    inputs = golden_inputs()
    order = torch.tensor([3, 1, 0, 2])
    value, gradient = value_and_gradient(loss, *inputs)
    shuffled, shuffled_gradient = value_and_gradient(loss, *[part[order] for part in inputs])
    torch.testing.assert_close(shuffled.loss, value.loss)
    torch.testing.assert_close(shuffled_gradient, gradient[order])


@every_loss
def test_names_of_the_classes_do_not_matter(loss):
    logits, label, confidence, is_pseudo = golden_inputs(torch.float64)
    new_name = torch.tensor([3, 5, 0, 6, 1, 2, 4])
    renamed = torch.where(label == IGNORE_INDEX, label, new_name[label.clamp(max=6)])
    value = loss(logits, label, confidence, is_pseudo).loss
    torch.testing.assert_close(loss(logits[:, new_name.argsort()], renamed, confidence, is_pseudo).loss, value)


@every_loss
def test_all_ignored_gives_zero_with_zero_gradient(loss):
    logits, label, confidence, is_pseudo = small_inputs()
    if isinstance(loss, OnlineLoss):
        is_pseudo = torch.zeros_like(is_pseudo)
    value, gradient = value_and_gradient(loss, logits, torch.full_like(label, IGNORE_INDEX), confidence, is_pseudo)
    assert value.loss == 0
    assert torch.equal(gradient, torch.zeros_like(logits))
    assert all(torch.isfinite(log) for log in value.logs.values())


@every_loss
def test_half_precision_logits_are_computed_in_full_precision(loss):
    logits, label, confidence, is_pseudo = golden_inputs(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(loss, logits, label, confidence, is_pseudo)
    assert value.loss.dtype == torch.float32
    assert value.loss == loss(logits.float(), label, confidence, is_pseudo).loss
    assert gradient.dtype == torch.bfloat16


@every_loss
def test_low_resolution_logits_are_upsampled_with_aligned_corners(loss):
    logits, label, confidence, is_pseudo = golden_inputs()
    low = logits[:, :, ::4, ::4]
    full = torch.nn.functional.interpolate(low, label.shape[1:], mode="bilinear", align_corners=True)
    assert loss(low, label, confidence, is_pseudo).loss == loss(full, label, confidence, is_pseudo).loss


@every_loss
def test_logs_are_detached_scalars(loss):
    value, _ = value_and_gradient(loss, *golden_inputs())
    assert set(value.logs) == {"disagree", "student_wins", "mean_weight", "cross_entropy"}
    assert all(log.ndim == 0 and not log.requires_grad for log in value.logs.values())
    assert 0 <= value.logs["student_wins"] <= value.logs["disagree"] <= 1


def test_an_impossible_probability_stays_finite():
    logits = torch.tensor([[500.0, -500.0]]).view(1, 2, 1, 1)
    for gamma in (0.0, 1e-9, 5.0):
        loss = DynamicMutualLoss(gamma_agree=gamma, gamma_disagree=gamma)
        value, gradient = value_and_gradient(
            loss, logits, torch.ones(1, 1, 1).long(), torch.ones(1, 1, 1), torch.tensor([True])
        )
        assert torch.isfinite(value.loss)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DynamicMutualLoss(gamma_agree=-1, gamma_disagree=5), "gamma_agree should be at least 0, but is -1"),
        (lambda: FlipLoss(gamma_agree=1, gamma_disagree=-5), "gamma_disagree should be at least 0"),
        (lambda: DynamicSelfLoss(gamma=-0.5), "gamma should be at least 0"),
        (lambda: OnlineLoss(threshold=90), r"threshold should be in \[0, 1\], but is 90"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
