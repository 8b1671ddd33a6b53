"""Perturbations of feature maps: the published masks, splits of a batch, and the place where they act."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.models import PERTURBATIONS, Perturbation, SegmentationModel, build_model

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "unimatch_v2_dropout.npz")


def dropout(share: float = 0.5) -> Perturbation:
    return PERTURBATIONS.build({"name": "channel_dropout", "share": share}, where="views.perturbation")


def complementary(spared: float = 0.5) -> Perturbation:
    return PERTURBATIONS.build({"name": "complementary", "spared": spared}, where="views.perturbation")


def ones(rows: int, *channels: int) -> list[Tensor]:
    return [torch.ones(rows, count, 4 - level, 3) for level, count in enumerate(channels)]


def near(share: float, expected: float, draws: int, spread: float = 0.5) -> bool:
    """Within four standard errors."""
    return abs(share - expected) <= 4 * spread / draws**0.5


def check_pair(first: np.ndarray, second: np.ndarray, kept: np.ndarray) -> None:
    """What holds for the factors (n, c) of the two views, and for the images that keep all channels."""
    assert set(np.unique(first)) <= {0, 1, 2}
    np.testing.assert_array_equal(first + second, 2)
    assert kept.sum() == len(first) // 2
    np.testing.assert_array_equal((first == 1).all(1), kept)
    assert not (first[~kept] == 1).any()


@pytest.mark.parametrize("images", [1, 2, 3, 4, 8])
def test_complementary_masks_are_as_published(images):
    check_pair(GOLDEN[f"mask1_n{images}"], GOLDEN[f"mask2_n{images}"], GOLDEN[f"kept_n{images}"])
    for seed in range(20):
        maps = complementary()(ones(2 * images, 96, 96, 96, 96), np.random.default_rng(seed))
        assert all(torch.equal(each, each[:, :, :1, :1].expand_as(each)) for each in maps), "one factor for all cells"
        assert all(torch.equal(each[:, :, 0, 0], maps[0][:, :, 0, 0]) for each in maps), "one mask for all levels"
        first, second = maps[0][:, :, 0, 0].numpy().reshape(2, images, 96)
        check_pair(first, second, (first == 1).all(1))


@pytest.mark.slow
def test_complementary_masks_have_the_published_statistics():
    steps, channels, rng = 20_000, 32, np.random.default_rng(0)
    kept, dropped = np.zeros(4), 0
    for _ in range(steps):
        first = complementary().draw(4, [channels], rng)[0][0]
        spared = (first == 1).all(1)
        assert spared.sum() == GOLDEN["stat_kept_per_step"][0]
        kept += spared
        dropped += (first == 0).sum()
    of = int(GOLDEN["stat_draws"])
    for own, published in zip(kept / steps, GOLDEN["stat_kept_share_per_position"], strict=True):
        assert near(own, 0.5, steps)
        assert near(published, 0.5, of)
    assert near(dropped / (steps * 2 * channels), 0.5, steps * 2 * channels)
    assert abs(dropped / (steps * 2 * channels) - GOLDEN["stat_zero_share_of_dropped"]) < 0.002


def test_maps_with_other_channel_counts_get_other_masks():
    shallow, middle, deep = complementary(spared=0.0)(ones(8, 64, 32, 64), np.random.default_rng(0))
    assert torch.equal(shallow[:, :, 0, 0], deep[:, :, 0, 0])
    assert not torch.equal(shallow[:, :32, 0, 0], middle[:, :, 0, 0])
    assert torch.equal(middle[:4] + middle[4:], torch.full_like(middle[:4], 2))


def test_spared_images_are_a_share_rounded_down():
    for images, spared, count in ((1, 0.5, 0), (3, 0.5, 1), (5, 0.4, 2), (1, 1.0, 1), (4, 0.0, 0)):
        first = complementary(spared).draw(images, [64], np.random.default_rng(1))[0][0]
        assert (first == 1).all(1).sum() == count


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_channel_dropout_has_the_statistics_of_dropout2d(share):
    draws, channels = 20_000, 4
    maps = dropout(share)(ones(draws, channels, 3), np.random.default_rng(0))
    assert all(torch.equal(each, each[:, :, :1, :1].expand_as(each)) for each in maps), "whole channels"
    assert all(sorted(set(each.flatten().tolist())) == pytest.approx([0, 1 / (1 - share)]) for each in maps)
    zeros = maps[0][:, :, 0, 0] == 0
    assert all(near(zeros[:, channel].float().mean().item(), share, draws) for channel in range(channels))
    # Channels, images and maps are independent of each other.
    both = (zeros[:, 0] & zeros[:, 1], zeros[1:, 0] & zeros[:-1, 0], zeros[:, 0] & (maps[1][:, 0, 0, 0] == 0))
    assert all(near(each.float().mean().item(), share**2, draws) for each in both)


def test_no_share_changes_nothing():
    maps = [torch.randn(3, 5, 2, 2)]
    assert torch.equal(dropout(0.0)(maps, np.random.default_rng(0))[0], maps[0])


@pytest.mark.parametrize("perturbation", [dropout(), complementary()], ids=["channel_dropout", "complementary"])
def test_parts_of_a_batch_get_the_factors_of_the_whole(perturbation):
    views, images = perturbation.views, 5
    maps = [torch.randn(views * images, count, 2, 2) for count in (8, 6)]
    whole = perturbation(maps, np.random.default_rng(7))
    again = perturbation(maps, np.random.default_rng(7))
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))
    for part in ([0, 2, 4], [1, 3], [3]):
        rows = [view * images + image for view in range(views) for image in part]
        own = perturbation([each[rows] for each in maps], np.random.default_rng(7), images=part, of=images)
        assert all(torch.equal(one, other[rows]) for one, other in zip(own, whole, strict=True))


def test_dtype_stays_and_gradients_pass():
    features = torch.randn(2, 8, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    (changed,) = dropout()([features], np.random.default_rng(0))
    assert changed.dtype == torch.bfloat16
    changed.sum().backward()
    assert features.grad is not None
    assert set(features.grad.flatten().tolist()) == {0, 2}


def test_rows_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="3 rows are not 2 views of 1 images"):
        complementary()(ones(3, 4), np.random.default_rng(0))
    with pytest.raises(ValueError, match="4 rows are not 2 views of 3 images"):
        complementary()(ones(4, 4), np.random.default_rng(0), images=[0, 1, 2], of=5)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ConfigError, match=r"views.perturbation.share should lie in \[0, 1\)"):
        dropout(share)
    with pytest.raises(ConfigError, match=r"views.perturbation.spared should lie in \[0, 1\]"):
        complementary(share * 2)


def model_of(head: str) -> SegmentationModel:
    options = {
        "linear": {"levels": None, "dropout": 0.0},
        "deeplabv3plus": {"aspp_rates": [1, 2], "channels": 8, "low_channels": 4, "dropout": 0.0},
    }
    pyramid = {"name": "timm", "arch": "resnet18", "output_stride": 16}
    backbone = {"name": "tiny", "width": 8} if head == "linear" else pyramid
    return build_model(
        {"name": head, "embedding_channels": 4, "backbone": backbone, **options[head]}, 3, True, 0
    ).eval()


IMAGES = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("head", "levels"), [("linear", 1), ("deeplabv3plus", 2)])
def test_a_network_perturbs_what_its_head_gets(head, levels):
    model, seen = model_of(head), []

    def doubled(maps: list[Tensor]) -> list[Tensor]:
        seen.extend(maps)
        zeroed = dropout()(maps, np.random.default_rng(0))
        return [torch.cat(pair) for pair in zip(maps, zeroed, strict=True)]

    plain = model.maps(IMAGES, embedding=True)
    both = model.maps(IMAGES, embedding=True, perturb=doubled)
    assert len(seen) == levels
    assert both.logits.shape == (4, *plain.logits.shape[1:])
    for name in ("logits", "embedding"):
        clean, dropped = getattr(both, name).chunk(2)
        torch.testing.assert_close(clean, getattr(plain, name))
        assert not torch.allclose(dropped, clean, atol=1e-4)
    assert torch.equal(model.maps(IMAGES, perturb=lambda maps: maps).logits, plain.logits)


# The compiler looks at the gradients of whatever it compiles on after plain Python, and says so.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_a_compiled_network_perturbs_alike_and_is_compiled_once():
    from torch._dynamo.testing import CompileCounter

    model = model_of("linear")
    counter = CompileCounter()
    compiled = torch.compile(model.maps, backend=counter)
    plain = compiled(IMAGES).logits
    counts = []
    for step in range(4):
        perturb = partial(dropout(), rng=np.random.default_rng(step))
        result = compiled(IMAGES, perturb=perturb).logits
        counts.append(counter.frame_count)
        expected = model.maps(IMAGES, perturb=partial(dropout(), rng=np.random.default_rng(step))).logits
        torch.testing.assert_close(result, expected)
    assert counts == [counts[0]] * 4
    assert torch.equal(compiled(IMAGES).logits, plain)
    assert counter.frame_count == counts[0]
