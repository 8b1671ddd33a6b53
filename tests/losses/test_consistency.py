"""Losses between probabilities: against torch's own, where nothing counts, and what is refused."""

import pytest
import torch
import torch.nn.functional as F

from dmtc.core.types import IGNORE_INDEX
from dmtc.losses import LOSSES, KLDivergence, MeanSquaredError, upsample


def maps():
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 3, 3, generator=source, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 9, 9, generator=source, dtype=torch.float64)
    label = torch.randint(3, (2, 9, 9), generator=source)
    label[torch.rand(label.shape, generator=source) < 0.3] = IGNORE_INDEX
    return logits, label, teacher, torch.rand(label.shape, generator=source)


@pytest.mark.parametrize("divisor", ["valid", "all"])
def test_mean_squared_error_is_torchs(divisor):
    logits, label, teacher, _ = maps()
    counted = label != IGNORE_INDEX if divisor == "valid" else torch.ones_like(label, dtype=torch.bool)
    student, target = (each.softmax(1).movedim(1, -1)[counted] for each in (upsample(logits, (9, 9)), teacher))
    value = MeanSquaredError(divisor=divisor)(logits, label, teacher)
    torch.testing.assert_close(value.loss, F.mse_loss(student, target))
    assert value.divisor == counted.sum()


def test_kl_divergence_is_torchs_on_the_pixels_selected():
    logits, label, teacher, confidence = maps()
    kept = (confidence >= 0.5) & (label != IGNORE_INDEX)
    student, target = (each.log_softmax(1).movedim(1, -1)[kept] for each in (upsample(logits, (9, 9)), teacher))
    loss = KLDivergence(selection={"name": "threshold", "threshold": 0.5}, divisor="kept")
    value = loss(logits, label, confidence, teacher)
    torch.testing.assert_close(value.loss, F.kl_div(student, target, reduction="batchmean", log_target=True))
    torch.testing.assert_close(value.logs["kept"], kept.sum() / (label != IGNORE_INDEX).sum())
    assert loss.needs == {"teacher_logits"}


def test_nothing_valid_is_zero_with_zero_gradient():
    logits, label, teacher, confidence = maps()
    label[:] = IGNORE_INDEX
    kl = KLDivergence(selection={"name": "everything"}, divisor="valid")
    for value in (MeanSquaredError(divisor="valid")(logits, label, teacher), kl(logits, label, confidence, teacher)):
        value.loss.backward()
        assert value.loss == 0 == value.divisor
        assert (logits.grad == 0).all()


def test_the_teacher_gets_no_gradient():
    logits, label, teacher, confidence = maps()
    teacher.requires_grad_()
    kl = KLDivergence(selection={"name": "everything"}, divisor="valid")
    (
        MeanSquaredError(divisor="all")(logits, label, teacher).loss + kl(logits, label, confidence, teacher).loss
    ).backward()
    assert teacher.grad is None
    assert logits.grad.any()


def test_a_probability_of_zero_is_no_problem():
    label, confidence = torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1)
    sure, opposite = torch.tensor([[[[500.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[500.0]]]])
    kl = KLDivergence(selection={"name": "everything"}, divisor="valid")
    assert kl(opposite, label, confidence, sure).loss == 500
    assert kl(sure, label, confidence, sure).loss == 0


def test_a_divisor_that_means_nothing_here_is_refused():
    faults = LOSSES.faults(
        {"name": "kl_divergence", "selection": {"name": "everything"}, "divisor": "ce_positive"}, "loss.x"
    )
    assert len(faults) == 1
    assert "divisor" in faults[0]
    assert LOSSES.faults({"name": "mean_squared_error", "divisor": "kept"}, "loss.x")
