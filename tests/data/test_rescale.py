"""The second change of geometry: equal to the first, for all that a teacher said about a crop."""

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.types import Batch, Sample
from dmtc.data.augment import Augment, Rescale
from dmtc.data.augment.rescale import _nearest


def batch_of(count: int = 4, height: int = 47, width: int = 41) -> Batch:
    """Smooth images; every other map repeats the label, so that a mismatch shows at every pixel."""
    rng = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.stack(
        [127 + 120 * torch.sin(rows / (9 + n)) * torch.cos(columns / (8 + n)) for n in range(3 * count)]
    )
    image = waves.view(count, 3, height, width).round().to(torch.uint8)
    label = torch.randint(0, 200, (count, height, width), generator=rng)
    logits = torch.stack([label.float(), -label.float()], 1)
    ids = tuple(f"image {row}" for row in range(count))
    return Batch(image, label, label / 200, torch.ones(count, dtype=torch.bool), ids, label / 100, logits)


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


@pytest.mark.parametrize("scale", [[0.5, 1.5], [0.3, 0.6], [1.0, 1.0], [1.7, 2.0]])
@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_equals_the_first_geometry(scale, flip):
    batch = batch_of(12)
    height, width = batch.label.shape[1:]
    result = Rescale(scale=scale, flip=flip)(batch, generators(12))
    augment = Augment(crop=[height, width], scale=scale, flip=flip)
    for row, rng in enumerate(generators(12)):
        image, label = batch.image[row].permute(1, 2, 0).numpy(), batch.label[row].to(torch.uint8).numpy()
        expected = augment(Sample("x", image, label, label.astype(np.uint16)), rng)
        np.testing.assert_array_equal(result.label[row].numpy() == 255, expected.label == 255)
        other = result.label[row].numpy() != expected.label
        assert other.mean() < 0.05, "OpenCV takes the other neighbor where a middle lies on the edge of two pixels"
        off = np.abs(result.image[row].permute(1, 2, 0).numpy().astype(int) - expected.image)
        assert off.max() <= 1, "OpenCV interpolates in steps of 1/2048"


@pytest.mark.parametrize(("old", "new"), [(40, 30), (40, 25), (17, 40), (9, 9), (1, 5), (5, 1)])
def test_the_nearest_pixel_is_the_one_that_holds_the_middle(old, new):
    expected = torch.nn.functional.interpolate(torch.arange(old).float()[None, None], new, mode="nearest-exact")
    assert torch.equal(_nearest(old, new, torch.device("cpu")).float(), expected[0, 0])


def test_all_maps_move_with_the_label():
    batch = batch_of(16)
    before = batch.map(torch.clone)
    result = Rescale(scale=[0.5, 1.5], flip=0.5)(batch, generators(16))
    assert result.entropy is not None
    assert result.logits is not None
    padded = result.label == 255
    assert padded.any()
    label = result.label.masked_fill(padded, 0).float()
    assert torch.equal(result.confidence, label / 200)
    assert torch.equal(result.entropy, label / 100)
    assert torch.equal(result.logits, torch.stack([label, -label], 1))
    assert not result.image.masked_select(padded[:, None]).any()
    assert result.ids == batch.ids
    assert [each.dtype for each in (result.image, result.label)] == [torch.uint8, torch.int64]
    assert all(torch.equal(getattr(batch, name), getattr(before, name)) for name in ("image", "label", "confidence"))


def test_a_row_depends_on_its_own_generator_only():
    batch, rescale = batch_of(6), Rescale(scale=[0.5, 1.5], flip=0.5)
    together = rescale(batch, generators(6))
    alone = Batch.cat([rescale(batch.take(slice(row, row + 1)), [rng]) for row, rng in enumerate(generators(6))])
    assert torch.equal(together.image, alone.image)
    assert torch.equal(together.label, alone.label)
    assert not torch.equal(together.label, rescale(batch, generators(6, seed=1)).label)
    with pytest.raises(ValueError, match="zip"):
        rescale(batch, generators(5))


def test_scale_1_without_a_flip_changes_nothing_and_maps_may_be_missing():
    whole = batch_of(2)
    batch = Batch(whole.image, whole.label, whole.confidence, whole.is_pseudo, whole.ids)
    result = Rescale(scale=[1.0, 1.0], flip=0.0)(batch, generators(2))
    assert torch.equal(result.image, batch.image)
    assert torch.equal(result.label, batch.label)
    assert result.entropy is result.logits is None


def test_values_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"views\.rescale\.scale should be .*; views\.rescale\.flip should be"):
        Rescale(scale=[1.5, 0.5], flip=2.0)
    with pytest.raises(ConfigError, match=r"views\.rescale\.scale"):
        Rescale(scale=[1.0], flip=0.5)
