"""Protocols and views, each against a computation pixel by pixel."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import DataError
from dmtc.core.types import Batch
from dmtc.evaluation import PROTOCOLS, build_evaluation, evaluate
from dmtc.evaluation.predictors import with_views

ALL = {
    "original": {},
    "padded": {"size": [23, 31]},
    "multiple": {"of": 4},
    "short_edge": {"size": 12},
    "center_crop": {"size": [9, 14]},
    "resized": {"factor": 0.5},
    "sliding": {"crop": [9, 11], "stride": 0.6667, "ragged": False},
}


def protocol(name, **arguments):
    return PROTOCOLS.build({"name": name, **(arguments or ALL[name])})


def batch(height, width, classes=4, seed=0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (2, height, width), generator=generator)
    truth[torch.rand(truth.shape, generator=generator) < 0.1] = 255
    image = torch.randint(0, 256, (2, 3, height, width), generator=generator, dtype=torch.uint8)
    return Batch(image, truth, torch.ones(truth.shape), torch.zeros(2, dtype=torch.bool), ("first", "second"))


def pointwise(classes=4):
    """A network whose logits depend on nothing but the pixel's own color."""
    weight = torch.randn(classes, 3, generator=torch.Generator().manual_seed(1))
    return lambda images: torch.einsum("cd,bdhw->bchw", weight, images.float() / 32)


def contextual(images):
    """A network whose logits depend on all that it sees and on where a pixel lies."""
    x = images.float() / 64
    place = torch.arange(x.shape[-1]) / 8 + torch.arange(x.shape[-2])[:, None] / 4
    return torch.stack([x[:, 0] - x.mean((1, 2, 3))[:, None, None], x[:, 1] + place, x[:, 2] * place], 1)


def linear_by_loops(plane, height, width):
    """Bilinear, pixel centers at half coordinates, one pixel after the other; (H, W) lists of floats in and out."""
    rows, columns = len(plane), len(plane[0])

    def taps(i, new, old):
        at = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        low = min(int(at), max(old - 2, 0))
        return [(low, 1 - (at - low)), (min(low + 1, old - 1), at - low)]

    return [
        [
            sum(wy * wx * plane[y][x] for (y, wy), (x, wx) in product(taps(i, height, rows), taps(j, width, columns)))
            for j in range(width)
        ]
        for i in range(height)
    ]


def assert_resized(batch, image, truth, height, width):
    """Image and truth against loops."""
    assert image.dtype == torch.uint8
    assert truth.dtype == torch.int64
    assert image.shape == (2, 3, height, width)
    old_height, old_width = batch.label.shape[1:]
    nearest = [
        [batch.label[1, int((i + 0.5) * old_height / height), int((j + 0.5) * old_width / width)] for j in range(width)]
        for i in range(height)
    ]
    assert truth[1].tolist() == [[value.item() for value in row] for row in nearest]
    expected = torch.tensor(linear_by_loops(batch.image[1, 2].tolist(), height, width))
    assert (image[1, 2] - expected).abs().max() <= 0.501


def test_original_is_the_picture_itself():
    pictures = batch(10, 12)
    image, truth = protocol("original").frame(pictures)
    assert image is pictures.image
    assert truth is pictures.label
    network = pointwise()
    assert protocol("original").wrap(network) is network


def test_padded():
    pictures = batch(20, 26)
    image, truth = protocol("padded").frame(pictures)
    assert image[..., :20, :26].equal(pictures.image)
    assert truth[:, :20, :26].equal(pictures.label)
    assert image.sum() == pictures.image.sum(), "the rest is black"
    assert (truth[:, 20:] == 255).all()
    assert (truth[:, :, 26:] == 255).all()
    assert image.shape[-2:] == truth.shape[-2:] == (23, 31)


@pytest.mark.parametrize("size", [(20, 26), (23, 31), (24, 26), (20, 40)])
def test_a_picture_is_predicted_in_its_padding_and_keeps_its_place(size):
    """The network sees the picture from the top left, black beside it; a larger one is shown as it is."""
    shown = []

    def network(images):
        shown.append(images)
        return images[:, :2].float()

    image = batch(*size).image
    logits = protocol("padded").whole(network)(image)
    assert logits.equal(image[:, :2].float())
    assert shown[0].shape[-2:] == (max(23, size[0]), max(31, size[1]))
    assert shown[0].sum() == image.sum()


@pytest.mark.parametrize("size", [(24, 31), (23, 32)])
def test_padded_refuses_larger_pictures(size):
    with pytest.raises(
        DataError, match=rf"first: {size[0]}x{size[1]} pixels do not fit into 23x31.*evaluation=original"
    ):
        protocol("padded").frame(batch(*size))


@pytest.mark.parametrize(
    ("size", "expected"), [((24, 36), (12, 18)), ((37, 20), (22, 12)), ((8, 9), (12, 13)), ((12, 40), (12, 40))]
)
def test_short_edge(size, expected):
    pictures = batch(*size)
    assert_resized(pictures, *protocol("short_edge").frame(pictures), *expected)


def test_resized_by_half_is_the_mean_of_four_pixels():
    pictures = batch(20, 14)
    image, truth = protocol("resized").frame(pictures)
    assert_resized(pictures, image, truth, 10, 7)
    blocks = pictures.image.float().unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    assert (image - blocks).abs().max() <= 0.5


def test_center_crop():
    pictures = batch(20, 15)
    image, truth = protocol("center_crop").frame(pictures)
    assert image.equal(pictures.image[:, :, 5:14, 0:14])
    assert truth.equal(pictures.label[:, 5:14, 0:14])
    pictures = batch(8, 20)
    image, truth = protocol("center_crop").frame(pictures)
    assert image.equal(pictures.image[:, :, :, 3:17])
    assert truth.equal(pictures.label[:, :, 3:17])
    pictures = batch(9, 8)
    assert protocol("center_crop").frame(pictures)[0].equal(pictures.image)


def test_only_the_frame_is_scored():
    truth = torch.zeros(1, 19, 24, dtype=torch.int64)
    truth[:, 5:14, 5:19] = 1
    picture = Batch(truth.new_zeros(1, 3, 19, 24).byte(), truth, torch.ones(1, 19, 24), torch.zeros(1), ("x",))
    spec = {"name": "center_crop", **ALL["center_crop"], "flip": False, "scales": [1.0], "absent": "left_out"}

    def always_one(images):
        return torch.stack([torch.zeros(1, *images.shape[2:]), torch.ones(1, *images.shape[2:])], 1)

    scores = evaluate({"a": always_one}, [picture], 2, build_evaluation(spec, "evaluation"))
    assert scores["a"].iou == (None, 1)


def test_multiple_shows_the_nearest_multiple_and_resizes_the_logits():
    seen = []

    def network(images):
        seen.append(images)
        return contextual(images)

    pictures = batch(13, 15)
    logits = protocol("multiple").wrap(network)(pictures.image)
    view = torch.tensor(linear_by_loops(pictures.image[1, 2].tolist(), 12, 16))
    assert (seen[0][1, 2] - view).abs().max() <= 0.501
    expected = linear_by_loops(contextual(seen[0])[1, 2].tolist(), 13, 15)
    torch.testing.assert_close(logits[1, 2], torch.tensor(expected), atol=1e-4, rtol=0)
    protocol("multiple", of=14).wrap(network)(batch(5, 35).image)
    assert seen[1].shape[-2:] == (14, 42)
    image, truth = protocol("multiple").frame(pictures)
    assert image is pictures.image
    assert truth is pictures.label


@pytest.mark.parametrize(
    ("length", "crop", "stride", "starts"),
    [
        (10, 4, 0.5, [0, 2, 4, 6]),
        (9, 4, 0.5, [0, 2, 4, 5]),
        (4, 4, 0.5, [0]),
        (3, 4, 0.5, [0]),
        (7, 3, 1.0, [0, 3, 4]),
        (3, 1, 0.5, [0, 1, 2]),
        (1024, 801, 0.6667, [0, 223]),
        (2048, 801, 0.6667, [0, 534, 1068, 1247]),
    ],
)
def test_places_of_windows(length, crop, stride, starts):
    seen = []

    def network(images):
        seen.append((int(images[0, 0, 0, 0]) + 256 * int(images[0, 1, 0, 0]), images.shape[-1]))
        return torch.zeros(1, 2, *images.shape[-2:])

    column = torch.arange(length)
    image = torch.stack([column % 256, column // 256, column * 0]).to(torch.uint8)[None, :, None]
    protocol("sliding", crop=[1, crop], stride=stride, ragged=False).wrap(network)(image)
    assert seen == [(start, min(crop, length)) for start in starts]


@pytest.mark.parametrize(("key", "ragged"), [("v1", True), ("v2", False)])
@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_windows_are_those_of_unimatch(case, key, ragged):
    golden = np.load(Path(__file__).parents[1] / "golden" / "peers" / "sliding_windows.npz")
    grid = int(golden[f"{case}_grid"])
    sliding = protocol("sliding", crop=[grid, grid], stride=0.6667, ragged=ragged)
    assert [list(window) for window in sliding.windows(*golden[f"{case}_size"].tolist())] == golden[
        f"{case}_{key}"
    ].tolist()


@pytest.mark.parametrize(
    ("ragged", "tops", "lefts"), [(False, [0, 2, 3], [0, 2, 4, 5]), (True, [0, 2, 4, 6], [0, 2, 4, 6, 8])]
)
def test_overlapping_windows_average_probabilities(ragged, tops, lefts):
    height, width, (rows, columns) = 7, 10, (4, 5)
    image = batch(height, width).image
    logits = protocol("sliding", crop=[rows, columns], stride=0.5, ragged=ragged).wrap(contextual)(image)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, height, width))
    windows = {
        (top, left): contextual(image[..., top : top + rows, left : left + columns]).softmax(1)
        for top, left in product(tops, lefts)
    }
    for y, x in product(range(height), range(width)):
        covering = [
            window[1, :, y - top, x - left]
            for (top, left), window in windows.items()
            if top <= y < top + rows and left <= x < left + columns
        ]
        torch.testing.assert_close(logits[1, :, y, x].softmax(0), sum(covering) / len(covering))


@pytest.mark.parametrize("classes", [2, 5, 150])
def test_windows_of_a_pointwise_network_are_the_whole(classes):
    image, network = batch(20, 30).image, pointwise(classes)
    windows = protocol("sliding").wrap(network)(image)
    torch.testing.assert_close(windows.softmax(1), network(image).softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["padded", "sliding"])
def test_a_pointwise_network_scores_as_on_the_original(name):
    common = {"flip": False, "scales": [1.0], "absent": "left_out"}
    batches = [batch(20, 30), batch(17, 9, seed=2)]

    def scored(spec):
        return evaluate(
            {"a": pointwise(), "b": pointwise(4)}, batches, 4, build_evaluation(spec | common, "evaluation")
        )

    assert scored({"name": name, **ALL[name]}) == scored({"name": "original"})


def test_one_view_is_the_network_itself():
    network = pointwise()
    assert with_views(network, flip=False, scales=[1.0]) is network


def test_the_mirror_image_changes_nothing_for_an_equivariant_network():
    image, network = batch(6, 9).image, pointwise()
    flipped = with_views(network, flip=True, scales=[1.0])(image)
    torch.testing.assert_close(flipped.softmax(1), network(image).softmax(1), atol=1e-5, rtol=1e-4)


def test_the_mirror_image_is_averaged_in():
    """Left and right of a network that tells them apart."""

    def network(images):
        right = torch.linspace(-3, 3, images.shape[-1]).expand(1, 1, *images.shape[-2:])
        return torch.cat([right, -right], 1)

    image = torch.zeros(1, 3, 2, 5, dtype=torch.uint8)
    torch.testing.assert_close(with_views(network, True, [1.0])(image).softmax(1), torch.full((1, 2, 2, 5), 0.5))

    def of_image(images):
        left_brighter = (images[:, :1, :, :1].float() - images[:, :1, :, -1:].float()) / 100
        return torch.cat([left_brighter.expand(-1, -1, -1, images.shape[-1]), torch.zeros(1, 1, *images.shape[-2:])], 1)

    image[:, :, :, 0] = 200
    mean = with_views(of_image, True, [1.0])(image).softmax(1)[0, 0, 0, 0].item()
    assert mean == pytest.approx((1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(2))) / 2)


def test_scales_average_probabilities_at_the_pictures_size():
    image = batch(9, 14).image
    mean = with_views(contextual, flip=False, scales=[0.5, 1.0, 2.0])(image).softmax(1)
    expected = torch.zeros_like(mean)
    for height, width in ((4, 7), (9, 14), (18, 28)):
        view = [[linear_by_loops(plane.tolist(), height, width) for plane in one] for one in image]
        logits = contextual(torch.tensor(view).round())
        back = [[linear_by_loops(plane.tolist(), 9, 14) for plane in one] for one in logits]
        expected += torch.tensor(back).softmax(1) / 3
    torch.testing.assert_close(mean, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "scales", "sizes"), [("sliding", [1.0, 1.5], {(9, 11)}), ("multiple", [0.5, 1.0], {(12, 16), (20, 32)})]
)
def test_views_are_shown_as_the_protocol_wants(name, scales, sizes):
    """Windows keep their size, and multiples stay multiples, whatever the scale."""
    seen = set()

    def network(images):
        seen.add(tuple(images.shape[-2:]))
        return pointwise()(images)

    spec = {"name": name, **ALL[name], "flip": True, "scales": scales, "absent": "left_out"}
    evaluate({"a": network}, [batch(20, 30)], 4, build_evaluation(spec, "evaluation"))
    assert seen == sizes


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("flip", [False, True])
def test_every_protocol_scores_pictures_of_different_sizes(name, flip):
    """A network that knows the truth, painted into the pictures, is right everywhere."""

    def painted(height, width):
        truth = torch.zeros(1, height, width, dtype=torch.int64)
        truth[:, :, width // 2 :] = 1
        image = (truth * 255).to(torch.uint8)[:, None].expand(1, 3, height, width)
        return Batch(image, truth, torch.ones(truth.shape), torch.zeros(1), ("x",))

    def network(images):
        return torch.stack([127.5 - images[:, 0].float(), images[:, 0].float() - 127.5], 1)

    spec = {"name": name, **ALL[name], "flip": flip, "scales": [1.0], "absent": "undefined"}
    scores = evaluate({"a": network}, [painted(16, 24), painted(20, 12)], 2, build_evaluation(spec, "evaluation"))
    assert scores["a"].miou == 1
