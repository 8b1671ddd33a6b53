"""Plain cross-entropy."""

import pytest
import torch

from dmtc.core.types import IGNORE_INDEX
from dmtc.losses import CrossEntropy


@pytest.fixture
def label():
    return torch.tensor([[[0, 1, 2, 0], [2, IGNORE_INDEX, 1, 1], [0, 2, IGNORE_INDEX, 0]]])


def test_equals_the_mean_over_labelled_pixels(label):
    logits = torch.randn(1, 3, 3, 4)
    log_p = logits.log_softmax(1)
    expected = [-log_p[0, label[0, y, x], y, x] for y in range(3) for x in range(4) if label[0, y, x] != IGNORE_INDEX]
    torch.testing.assert_close(CrossEntropy()(logits, label).loss, torch.stack(expected).mean())


def test_gradient_of_low_resolution_logits(label):
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: CrossEntropy()(x, label).loss, logits)


def test_all_ignored_gives_zero_with_zero_gradient(label):
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = CrossEntropy()(logits, torch.full_like(label, IGNORE_INDEX)).loss
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_logits(label):
    logits = torch.randn(1, 3, 2, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert CrossEntropy()(logits, label).loss == CrossEntropy()(logits.float(), label).loss
