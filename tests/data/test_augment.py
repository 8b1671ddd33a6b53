from dataclasses import replace

import cv2
import numpy as np
import pytest

from dmtc.core.errors import ConfigError
from dmtc.core.types import Sample
from dmtc.data import Augment


def sample_of(height, width, seed=0):
    """A sample whose three image channels repeat label and level, so that a mismatch shows at every pixel."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 200, (height, width), np.uint8)
    image = np.repeat(label[..., None], 3, 2)
    return Sample(id="x", image=image, label=label, level=label.astype(np.uint16) * 20)


def smooth_sample(height, width):
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    wave = 127 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7)
    image = np.round(np.stack([wave, 255 - wave, wave / 2], -1)).astype(np.uint8)
    label = (rows // 8 + columns // 8).astype(np.uint8) % 7
    return Sample(id="x", image=image, label=label, level=(rows * 4000 / height).astype(np.uint16))


class Fixed:
    """Stands in for a generator: gives the draws for scale, top, left and flip."""

    def __init__(self, *draws):
        self.draws = draws

    def random(self, count):
        assert count == 4
        return np.array(self.draws)


def test_crop_at_scale_1_is_an_exact_copy():
    sample = sample_of(40, 50)
    result = Augment(crop=[16, 20], scale=[1, 1], flip=0.0)(sample, Fixed(0.3, 0.5, 0.9, 0.5))
    top, left = int(0.5 * 25), int(0.9 * 31)
    np.testing.assert_array_equal(result.image, sample.image[top : top + 16, left : left + 20])
    np.testing.assert_array_equal(result.label, sample.label[top : top + 16, left : left + 20])
    np.testing.assert_array_equal(result.level, sample.level[top : top + 16, left : left + 20])


def test_flip_at_scale_1_is_an_exact_mirror():
    sample = sample_of(16, 20)
    result = Augment(crop=[16, 20], scale=[1, 1], flip=1.0)(sample, Fixed(0.3, 0.5, 0.9, 0.5))
    np.testing.assert_array_equal(result.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(result.label, sample.label[:, ::-1])
    np.testing.assert_array_equal(result.level, sample.level[:, ::-1])


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.5, 0.73, 1.0, 1.31, 2.0])
@pytest.mark.parametrize("crop", [[48, 40], [120, 130], [40, 160], [200, 250]])
def test_equals_resize_pad_crop_flip(scale, crop, flip):
    sample = smooth_sample(90, 110)
    draws = (0.0, 0.37, 0.81, 0.5)
    result = Augment(crop=crop, scale=[scale, scale], flip=flip)(sample, Fixed(*draws))

    height, width = int(scale * 90), int(scale * 110)
    image = cv2.resize(sample.image, (width, height), interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(sample.label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    pad = ((0, max(0, crop[0] - height)), (0, max(0, crop[1] - width)))
    image, label = np.pad(image, (*pad, (0, 0))), np.pad(label, pad, constant_values=255)
    top = int(draws[1] * (image.shape[0] - crop[0] + 1))
    left = int(draws[2] * (image.shape[1] - crop[1] + 1))
    image, label = (a[top : top + crop[0], left : left + crop[1]] for a in (image, label))
    if flip:
        image, label = image[:, ::-1], label[:, ::-1]

    assert result.image.shape == (*crop, 3)
    np.testing.assert_array_equal(result.label == 255, label == 255)
    if height <= crop[0] and width <= crop[1]:  # nothing is cut
        np.testing.assert_array_equal(result.image, image)
        np.testing.assert_array_equal(result.label, label)
    else:  # the wave climbs by at most 60/9 + 60/7 a source pixel
        assert np.abs(result.image.astype(int) - image).max() <= 60 / 9 + 60 / 7
        assert np.mean(result.label != label) < 0.25


def test_the_scale_is_as_drawn_and_the_place_uniform():
    """A ramp tells which source pixels a crop shows: from where, and over how many."""
    ramp = np.arange(200, dtype=np.uint8)
    sample = Sample("x", np.repeat(np.tile(ramp, (150, 1))[..., None], 3, 2), np.tile(ramp, (150, 1)))
    places = []
    for draw in np.linspace(0, 0.999, 50):
        for scale in (0.9, 1.27, 1.5):
            crop = Augment(crop=[80, 100], scale=[scale, scale], flip=0.0)(sample, Fixed(0.5, 0.5, draw, 0.5))
            shown = int(crop.label[0, -1]) - int(crop.label[0, 0]) + 1
            assert shown == pytest.approx(100 / scale, abs=1)
            places.append(crop.label[0, 0] / (200 - 100 / scale))
    assert min(places) == 0
    assert max(places) == pytest.approx(1, abs=0.02)
    assert np.mean(places) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.5])
def test_image_label_and_level_move_together(scale):
    # Constant blocks: inside a block the interpolated image still spells the label.
    label = np.kron(np.arange(48, dtype=np.uint8).reshape(6, 8) * 4, np.ones((16, 16), np.uint8))
    sample = Sample("x", np.repeat(label[..., None], 3, 2), label, label.astype(np.uint16) * 9)
    augment = Augment(crop=[64, 72], scale=[scale, scale], flip=0.5)
    for seed in range(8):
        result = augment(sample, np.random.default_rng(seed))
        inside = result.label != 255
        agree = np.all(result.image[inside] == result.label[inside][:, None], 1)
        assert agree.mean() > 0.7
        np.testing.assert_array_equal(result.level[inside], result.label[inside].astype(np.uint16) * 9)
        assert np.all(result.image[~inside] == 0)
        assert np.all(result.level[~inside] == 0)


def test_a_persons_label_has_no_level():
    sample = sample_of(40, 50)
    result = Augment(crop=[16, 20], scale=[0.5, 1.5], flip=0.5)(replace(sample, level=None), np.random.default_rng(0))
    assert result.level is None


def test_same_generator_state_gives_the_same_sample():
    augment = Augment(crop=[32, 24], scale=[0.5, 1.5], flip=0.5)
    first, again, other = (augment(sample_of(50, 60), np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.label, again.label)
    assert not np.array_equal(first.label, other.label)


def test_draws_do_not_depend_on_the_image():
    generators = [np.random.default_rng(0), np.random.default_rng(0)]
    augment = Augment(crop=[8, 8], scale=[0.5, 1.5], flip=0.5)
    augment(sample_of(4, 4), generators[0])
    augment(sample_of(90, 70), generators[1])
    assert generators[0].random() == generators[1].random()


def test_every_place_and_both_flips_occur():
    sample = sample_of(6, 6)
    augment = Augment(crop=[5, 5], scale=[1, 1], flip=0.5)
    seen = {augment(sample, np.random.default_rng(s)).label.tobytes() for s in range(100)}
    assert len(seen) == 2 * 2 * 2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (3, 200)])
def test_tiny_images(height, width):
    result = Augment(crop=[10, 12], scale=[0.5, 0.5], flip=1.0)(sample_of(height, width), np.random.default_rng(0))
    assert result.image.shape == (10, 12, 3)
    assert np.any(result.label != 255)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": [0, 5]}, "augment.crop"),
        ({"crop": [5]}, "augment.crop"),
        ({"scale": [1.5, 0.5]}, "augment.scale"),
        ({"scale": [0.0, 1.0]}, "augment.scale"),
        ({"flip": 1.5}, "augment.flip"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Augment(**{"crop": [4, 4], "scale": [0.5, 1.5], "flip": 0.5, **changes})
