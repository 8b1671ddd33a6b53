"""The full-size view against real upsampling."""

import pytest
import torch
import torch.nn.functional as F

from dmtc.losses.bilinear import FullSizeView

SIZES = [
    ((5, 7), (21, 30)),
    ((5, 7), (5, 7)),
    ((1, 6), (4, 11)),
    ((6, 1), (9, 3)),
    ((3, 4), (1, 1)),
    ((41, 41), (64, 50)),
]


@pytest.fixture(params=SIZES, ids=str)
def case(request):
    cells, pixels = request.param
    features = torch.randn(2, 3, *cells, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    full = F.interpolate(features, pixels, mode="bilinear", align_corners=True).permute(0, 2, 3, 1).flatten(0, 2)
    return FullSizeView(features, pixels), full, features


def test_vectors_and_their_gradient(case):
    view, full, features = case
    torch.testing.assert_close(view.vectors(torch.arange(len(full))), full)
    some = torch.randint(len(full), (20,))
    slope = torch.autograd.grad(view.vectors(some).square().sum(), features)
    torch.testing.assert_close(slope, torch.autograd.grad(full[some].square().sum(), features))


def test_cosines(case):
    view, full, _ = case
    vectors = torch.randn(4, 3, dtype=torch.float64)
    pixels = torch.randint(len(full), (4, 50))
    unit = full / full.norm(dim=1, keepdim=True)
    torch.testing.assert_close(view.cosines(vectors, pixels), (unit[pixels] @ vectors.unsqueeze(-1)).squeeze(-1))


def test_lengths(case):
    view, full, _ = case
    torch.testing.assert_close(view.norms(), full.norm(dim=1))


def test_mean_over_a_mask(case):
    view, full, _ = case
    mask = torch.rand(2, *view.size) < 0.4
    mask[0, 0, 0] = True
    torch.testing.assert_close(view.mean(mask), full[mask.flatten()].mean(0))
    assert view.mean(torch.zeros_like(mask)).abs().max() == 0


def test_only_vectors_carry_gradient_to_the_map(case):
    view, full, _ = case
    pixels = torch.arange(len(full))
    assert view.vectors(pixels).requires_grad
    assert not view.cosines(torch.ones(1, 3, dtype=torch.float64), pixels.unsqueeze(0)).requires_grad
    assert not view.norms().requires_grad
    assert not view.mean(torch.ones(2, *view.size, dtype=torch.bool)).requires_grad
