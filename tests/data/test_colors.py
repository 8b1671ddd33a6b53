"""Changes of color: the operations against torchvision's, what is drawn, and that images do not touch each other."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as reference

from dmtc.core.errors import ConfigError
from dmtc.data.augment import COLORS
from dmtc.data.augment.colors import Color, Drawn, base, operations

JITTER = {"name": "jitter", "brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.25, "probability": 0.8}
JITTER |= {"gray": 0.2, "blur": 0.5, "sigma": [0.1, 2.0]}
NAMES = ["identity", "autocontrast", "equalize", "blur", "contrast", "brightness", "saturation", "sharpness"]
NAMES += ["posterize", "solarize", "hue"]
CHOICE = {"name": "random_choice", "operations": NAMES, "count": [1, 3], "factor": [0.05, 0.95], "sigma": [0.1, 2.0]}
CHOICE |= {"bits": [4, 7], "threshold": [1, 255], "hue": 0.5}


def color_of(spec: dict, **changes: object) -> Color:
    return COLORS.build(spec | changes, where="views.color")


def pictures(count: int = 3, height: int = 40, width: int = 56) -> torch.Tensor:
    """Smooth waves in every color, so that neighbors are alike, as in photographs; the corners are black and white."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [
        [127.5 + 127.5 * torch.sin(rows / (5 + row) + channel) * torch.cos(columns / (7 + channel) + row)]
        for row in range(count)
        for channel in range(3)
    ]
    images = torch.stack([wave for (wave,) in waves]).view(count, 3, height, width).round().to(torch.uint8)
    images[..., 0, 0], images[..., -1, -1] = 0, 255
    return images


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


REFERENCES = {
    "brightness": (1.3, lambda images: reference.adjust_brightness(images, 1.3)),
    "contrast": (0.4, lambda images: reference.adjust_contrast(images, 0.4)),
    "saturation": (1.5, lambda images: reference.adjust_saturation(images, 1.5)),
    "hue": (-0.2, lambda images: reference.adjust_hue(images, -0.2)),
    "gray": (0, lambda images: reference.rgb_to_grayscale(images, 3)),
    "autocontrast": (0, reference.autocontrast),
    "equalize": (0, reference.equalize),
    "sharpness": (0.3, lambda images: reference.adjust_sharpness(images, 0.3)),
    "posterize": (5, lambda images: reference.posterize(images, 5)),
    "solarize": (100, lambda images: reference.solarize(images, 100)),
    "identity": (0, lambda images: images),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_operations_agree_with_torchvision(name):
    strength, expected = REFERENCES[name]
    # A range of values short of 0 and 255, so that autocontrast has something to do.
    images = pictures() if name != "autocontrast" else (pictures() // 2 + 30)
    result = getattr(operations, name)(images.float(), np.full(3, float(strength)))
    off = (result.round() - expected(images).float()).abs()
    assert off.max() <= (0 if name in ("identity", "equalize", "posterize", "solarize") else 1)
    assert result.min() >= 0
    assert result.max() <= 255


def test_hue_has_every_color_and_gray_pixels_stay():
    levels = torch.tensor([0, 60, 127, 128, 255], dtype=torch.uint8)
    every = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 5, 25)
    for turns in (-0.5, -0.31, 0.0, 0.1, 1 / 3, 0.5):
        result = operations.hue(every.float(), np.array([turns]))
        assert (result - reference.adjust_hue(every.float() / 255, turns) * 255).abs().max() < 1e-3
        is_gray = (every == every[:, :1]).all(1, keepdim=True).expand_as(every)
        assert torch.equal(result[is_gray], every.float()[is_gray])


def test_hue_and_blur_are_the_same_on_every_device(monkeypatch):
    """What runs on a GPU, run here, against OpenCV's kernels of the CPU: equal before rounding."""
    images = torch.cat(
        [pictures(4).float(), torch.rand(4, 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 255]
    )
    turns = np.array([-0.5, -0.25, -0.1, 0.0, 0.1, 0.2, 0.35, 0.5])
    there = operations.hue_of_tensors(images.clone(), turns)
    assert (operations.hue(images.clone(), turns) - there).abs().max() < 1e-3
    sigmas = np.array([0.0, 1e-4, 0.1, 0.3, 0.7, 1.0, 1.5, 2.0])
    here = operations.blur(images.clone(), sigmas)
    monkeypatch.setattr(
        operations.on_cpu,
        "blur",
        lambda images, kernels: operations.blur_of_tensors(
            images, torch.stack([F.pad(each, ((13 - len(each)) // 2,) * 2) for each in kernels], dim=1)
        ),
    )
    assert (here - operations.blur(images.clone(), sigmas)).abs().max() < 1e-3


def test_blur_is_a_gaussian_and_repeats_the_edge():
    point = torch.zeros(1, 3, 41, 41)
    point[..., 20, 20] = 255
    for sigma in (1.0, 1.3, 2.0):
        spread = operations.blur(point.clone(), np.array([sigma]))[0, 0] / 255
        offsets = torch.arange(41.0) - 20
        assert spread.sum() == pytest.approx(1, abs=1e-5)
        assert (spread.sum(0) * offsets**2).sum() == pytest.approx(sigma**2, rel=0.03)
        assert torch.allclose(spread, spread.T, atol=1e-7)
    uniform = torch.full((1, 3, 4, 5), 77.0)
    assert torch.allclose(operations.blur(uniform, np.array([2.0])), uniform, atol=1e-4)
    images = pictures().float()
    assert torch.allclose(operations.blur(images, np.zeros(3)), images, atol=1e-4)


@pytest.mark.parametrize("spec", [JITTER, CHOICE], ids=lambda spec: spec["name"])
def test_an_image_depends_on_its_own_generator_only(spec):
    color, images = color_of(spec), pictures(12)
    before = images.clone()
    together = color(images, generators(12))
    assert together.dtype == torch.uint8
    assert together.shape == images.shape
    assert torch.equal(images, before)
    alone = torch.cat([color(images[row : row + 1], [rng]) for row, rng in enumerate(generators(12))])
    assert torch.equal(together, alone)
    assert not torch.equal(together, color(images, generators(12, seed=1)))


@pytest.mark.parametrize("spec", [JITTER, CHOICE], ids=lambda spec: spec["name"])
def test_all_images_at_once_as_on_a_gpu_gives_the_same(spec):
    color, images = color_of(spec), pictures(24)
    at_once = base._changed(images, [color.draw(rng) for rng in generators(24)])
    off = (at_once.int() - color(images, generators(24)).int()).abs()
    # A vectorized sum and its remainder round differently on a CPU; equalize makes steps of such a difference.
    assert (off > 1).float().mean() < 1e-3
    assert (off > 0).float().mean() < 1e-2


def test_no_draw_leaves_the_image_and_no_images_are_no_error():
    off = color_of(JITTER, probability=0.0, gray=0.0, blur=0.0)
    images = pictures(2)
    assert torch.equal(off(images, generators(2)), images)
    assert off(images[:0], []).shape == (0, 3, 40, 56)
    with pytest.raises(ValueError, match="zip"):
        off(images, generators(1))
    assert off(images[..., :1, :1], generators(2)).shape == (2, 3, 1, 1)
    every = color_of(CHOICE, count=[3, 3])
    assert every(images[..., :1, :1], generators(2)).shape == (2, 3, 1, 1)


def within(share: float, expected: float, draws: int) -> bool:
    """Within four standard errors."""
    return abs(share - expected) <= 4 * (expected * (1 - expected) / draws) ** 0.5


def test_jitter_draws_what_it_says():
    count = 20_000
    rng = np.random.default_rng(0)
    plans = [[(drawn.operation.__name__, drawn.strength) for drawn in color_of_jitter.draw(rng)] for _ in range(count)]
    seen = Counter(name for plan in plans for name, _ in plan)
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert within(seen[name] / count, 0.8, count)
    assert within(seen["gray"] / count, 0.2, count)
    assert within(seen["blur"] / count, 0.5, count)
    first = Counter(plan[0][0] for plan in plans if len(plan) >= 4)
    assert all(within(first[name] / seen["hue"], 0.25, seen["hue"]) for name in ("brightness", "hue"))
    ends = {"brightness": (0.5, 1.5), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-0.25, 0.25)}
    for name, (low, high) in {**ends, "blur": (0.1, 2.0)}.items():
        values = np.array([strength for plan in plans for drawn, strength in plan if drawn == name])
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high >= values.max() > high - 0.01 * (high - low)
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / 12**0.5 / len(values) ** 0.5
    # Gray and blur come last, in this order.
    assert {plan[-1][0] for plan in plans if "blur" in dict(plan)} == {"blur"}


color_of_jitter = color_of(JITTER)


def test_a_factor_is_never_negative_and_a_width_of_0_is_never_drawn():
    wide = color_of(JITTER, brightness=2.0, contrast=0.0, hue=0.0, probability=1.0)
    rng = np.random.default_rng(0)
    plans = [wide.draw(rng) for _ in range(2000)]
    assert {drawn.operation.__name__ for plan in plans for drawn in plan} == {
        "brightness",
        "saturation",
        "gray",
        "blur",
    }
    factors = [drawn.strength for plan in plans for drawn in plan if drawn.operation is operations.brightness]
    assert min(factors) >= 0
    assert max(factors) > 2.9


def test_random_choice_draws_what_it_says():
    count, rng, color = 20_000, np.random.default_rng(0), color_of(CHOICE)
    plans = [color.draw(rng) for _ in range(count)]
    lengths = Counter(map(len, plans))
    assert set(lengths) == {1, 2, 3}
    assert all(within(lengths[length] / count, 1 / 3, count) for length in (1, 2, 3))
    total = sum(map(len, plans))
    seen = Counter(drawn.operation.__name__ for plan in plans for drawn in plan)
    assert set(seen) == set(NAMES)
    assert all(within(each / total, 1 / 11, total) for each in seen.values())
    strengths = {name: {d.strength for plan in plans for d in plan if d.operation.__name__ == name} for name in NAMES}
    assert strengths["posterize"] == {4, 5, 6, 7}
    assert strengths["solarize"] == set(range(1, 256))
    assert 0.05 <= min(strengths["sharpness"]) <= max(strengths["sharpness"]) <= 0.95
    assert -0.5 <= min(strengths["hue"]) < -0.45
    assert 0.45 < max(strengths["hue"]) <= 0.5
    pairs = Counter(tuple(d.operation.__name__ for d in plan) for plan in plans if len(plan) == 2)
    assert any(one == other for one, other in pairs), "with replacement"


def test_a_color_of_ones_own():
    class Inverted(Color):
        def draw(self, rng):
            return [Drawn(lambda images, strength: 255 - images)]

    images = pictures(2)
    assert torch.equal(Inverted()(images, generators(2)), 255 - images)


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (JITTER, {"brightness": -0.1}, "views.color.brightness should be at least 0, but is -0.1"),
        (JITTER, {"hue": 0.6}, "views.color.hue should be at most half a turn"),
        (JITTER, {"gray": 1.5}, "views.color.gray should be a probability"),
        (JITTER, {"sigma": [2.0, 0.1]}, "views.color.sigma should be a minimum and a maximum of at least 0"),
        (JITTER, {"sigma": [2.0]}, "views.color.sigma should be a minimum and a maximum"),
        (JITTER, {"contrast": -1.0, "blur": -1.0}, "views.color.contrast .*; views.color.blur"),
        (CHOICE, {"operations": ["blurr"]}, "unknown operation 'blurr'. Did you mean 'blur'"),
        (CHOICE, {"operations": []}, "views.color.operations should name at least one"),
        (CHOICE, {"bits": [0, 7]}, r"views.color.bits should be a minimum and a maximum in \[1, 8\]"),
        (CHOICE, {"count": [2, 1]}, "views.color.count"),
        (CHOICE, {"factor": [0.5, float("inf")]}, "views.color.factor"),
        (CHOICE, {"hue": -0.1}, "views.color.hue"),
        (CHOICE, {"threshold": [1, 300]}, "views.color.threshold"),
    ],
)
def test_values_out_of_range_are_refused(spec, changes, message):
    with pytest.raises(ConfigError, match=message):
        color_of(spec, **changes)
