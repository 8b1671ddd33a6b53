"""Sorting and drawing pixels by class."""

import pytest
import torch

from dmtc.core.types import IGNORE_INDEX
from dmtc.losses.sampling import PixelsByClass


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    label = torch.randint(7, (2, 9, 11), generator=g)
    label[label == 3] = 5
    label[label == 6] = IGNORE_INDEX
    return label, torch.rand(label.shape, generator=g) < 0.3


def test_the_order_holds_every_pixel_by_class_and_hardness(batch):
    label, hard = batch
    pixels = PixelsByClass.sort(label, hard, num_classes=6)
    assert sorted(pixels.order.tolist()) == list(range(label.numel()))
    assert pixels.present == [0, 1, 2, 4, 5]
    for row, c in enumerate(pixels.present):
        start, count = int(pixels.starts[row]), int(pixels.counts[row])
        assert set(pixels.order[start : start + count].tolist()) == set((label == c).flatten().nonzero()[:, 0].tolist())
        hard_ones = pixels.order[start : start + pixels.num_hard(c)]
        assert set(hard_ones.tolist()) == set(((label == c) & hard).flatten().nonzero()[:, 0].tolist())


def test_hard_pixels_are_drawn_uniformly_from_their_class(batch):
    label, hard = batch
    pixels = PixelsByClass.sort(label, hard, num_classes=6)
    drawn = pixels.draw_hard(2, 20_000, torch.Generator().manual_seed(0))
    allowed = ((label == 2) & hard).flatten().nonzero()[:, 0]
    frequency = torch.bincount(drawn, minlength=label.numel())[allowed] / 20_000
    assert frequency.sum() == pytest.approx(1)
    torch.testing.assert_close(frequency, torch.full_like(frequency, 1 / len(allowed)), atol=0.02, rtol=0)


def test_keys_are_drawn_by_class_chance_and_then_uniformly(batch):
    label, hard = batch
    pixels = PixelsByClass.sort(label, hard, num_classes=6)
    chance = torch.tensor([0.5, 0.0, 0.1, 0.1, 0.3])
    drawn = pixels.draw(chance, (200, 200), torch.Generator().manual_seed(0))
    assert drawn.shape == (200, 200)
    frequency = torch.bincount(drawn.flatten(), minlength=label.numel()) / drawn.numel()
    expected = torch.zeros_like(frequency)
    for c, share in zip(pixels.present, chance, strict=True):
        inside = (label == c).flatten()
        expected[inside] = share / inside.sum()
    torch.testing.assert_close(frequency, expected, atol=0.004, rtol=0)
    assert (frequency[expected == 0] == 0).all()


def test_a_batch_without_labels(batch):
    label, hard = batch
    pixels = PixelsByClass.sort(torch.full_like(label, IGNORE_INDEX), hard, num_classes=6)
    assert pixels.present == []
