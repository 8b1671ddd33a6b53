"""Mixing against the golden files: the same pixels for the same draws, the same statistics over many."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from dmtc.batches.mixing import MIXERS, masks, partner_rows
from dmtc.batches.mixing.adaptive import image_confidence, pasted_twice
from dmtc.batches.mixing.cutout import without
from dmtc.config.folder import config_folder
from dmtc.core.types import IGNORE_INDEX, Batch
from published import GOLDEN

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def statistics():
    return np.load(GOLDEN / "peers" / "mask_statistics.npz")


def built(name):
    options = yaml.safe_load((config_folder() / "mixing" / f"{name}.yaml").read_text())
    return MIXERS.build(options, "mixing", num_classes=7)


def blank(rows: int, side: int) -> Batch:
    """Black images that the teacher knows nothing about."""
    label, confidence = torch.zeros(rows, side, side, dtype=torch.long), torch.zeros(rows, side, side)
    image = torch.zeros(rows, 3, side, side, dtype=torch.uint8)
    return Batch(image, label, confidence, torch.ones(rows, dtype=torch.bool), ("",) * rows, confidence)


def as_batch(image, label, confidence, entropy=None) -> Batch:
    label = torch.as_tensor(label).long()
    label = label.where(label >= 0, IGNORE_INDEX)
    ids = tuple(str(row) for row in range(len(label)))
    entropy = None if entropy is None else torch.as_tensor(entropy)
    is_pseudo = torch.ones(len(label), dtype=torch.bool)
    return Batch(torch.as_tensor(image), label, torch.as_tensor(confidence), is_pseudo, ids, entropy)


def box_around(pixels: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(pixels.any(1))[0], np.nonzero(pixels.any(0))[0]
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def assert_same(result: Batch, expected: Batch):
    for name in ("image", "label", "confidence"):
        assert getattr(result, name).equal(getattr(expected, name)), name


@pytest.mark.parametrize("mode", ["cutout", "cutmix", "classmix"])
def test_mean_teacher_mixing(mode):
    golden = np.load(GOLDEN / "peers" / "reco_mixing.npz")
    own = as_batch(*(golden[name] for name in ("data", "target", "confidence")))
    expected = as_batch(*(golden[f"{mode}_{name}"] for name in ("data", "target", "confidence")))
    gone = golden[f"{mode}_mask"] == 0
    boxes = np.array([box_around(each) for each in gone])
    if mode == "cutout":
        assert_same(without(own, boxes), expected)
        return
    others = own.ordered(partner_rows("next", 3, np.random.default_rng(0)))
    assert_same(own.pasted(torch.as_tensor(gone), others), expected)
    if mode == "cutmix":
        assert masks.inside(boxes, gone.shape[1:], CPU).equal(torch.as_tensor(gone))
        return
    for label, keep in zip(own.label, ~torch.as_tensor(gone), strict=True):
        chosen = label[keep].unique()
        assert len(chosen) == len(label.unique()) // 2, "half of the values, void among them"
        assert torch.isin(label, chosen).equal(keep), "and all of their pixels"


def test_three_boxes_of_another_batch():
    golden = np.load(GOLDEN / "peers" / "cps_step.npz")
    mask = torch.as_tensor(golden["cutmix_mask"])[:, 0] == 1
    void = np.zeros((2, 24, 24), np.int64)
    for network in ("1", "2"):
        own, other = (
            as_batch(golden[f"cutmix_img_{kind}"], void, np.zeros_like(void, np.float32)) for kind in ("u0", "u1")
        )
        # The published code mixes the logits and labels the mixture, which is the mixture of the labels.
        own.label[:], other.label[:] = (
            torch.as_tensor(golden[f"cutmix_t{network}_{kind}"]).argmax(1) for kind in ("u0", "u1")
        )
        result = own.pasted(mask, other)
        assert result.image.equal(torch.as_tensor(golden["cutmix_out_image"]))
        assert result.label.equal(torch.as_tensor(golden[f"cutmix_out_label_{network}"]))


def test_adaptive_mixing():
    golden = np.load(GOLDEN / "peers" / "augseg.npz")
    own = as_batch(golden["mix_image_u"], golden["mix_pseudo"], golden["mix_conf"])
    labelled = as_batch(golden["mix_image_l"], golden["mix_label_l"], np.ones((3, 24, 24), np.float32))
    result = pasted_twice(
        own,
        labelled,
        golden["mix_permutation"].tolist(),
        torch.as_tensor(golden["mix_uniform"] > golden["mix_image_confidence"]),
        golden["mix_labelled_boxes"],
        golden["mix_unlabelled_boxes"],
    )
    assert_same(result, as_batch(*(golden[f"mix_out_{name}"] for name in ("image", "label", "conf"))))


def test_confidence_of_an_image():
    golden = np.load(GOLDEN / "peers" / "augseg.npz")
    log_p = torch.as_tensor(golden["teacher_logits"]).log_softmax(1)
    batch = as_batch(
        np.zeros((3, 3, 24, 24)), np.zeros((3, 24, 24)), log_p.exp().amax(1), -(log_p.exp() * log_p).sum(1)
    )
    assert image_confidence(batch, 7).numpy() == pytest.approx(golden["image_confidence"], rel=1e-5)
    batch.label[0, :20], batch.label[1] = IGNORE_INDEX, IGNORE_INDEX
    scores = image_confidence(batch, 7)
    rest = batch.confidence[0, 20:] * (1 - batch.entropy[0, 20:] / np.log(7))
    assert scores[0].item() == pytest.approx(rest.mean().item(), rel=1e-5), "padding does not count"
    assert scores[1].item() == 0, "nothing valid"


def assert_alike(values, golden, draws=None, quantile=0.01):
    """Means within four standard errors, of which both samples have one; quantiles within 0.01 of a share."""
    mean, deviation, *quantiles = golden
    error = deviation * np.sqrt(1 / len(values) + 1 / (draws or len(values)))
    assert values.mean() == pytest.approx(mean, abs=4 * error)
    assert values.std() == pytest.approx(deviation, rel=0.1)
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert np.quantile(values, shares) == pytest.approx(np.array(quantiles[1:6]), abs=quantile)


def sides(boxes):
    return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]


def test_boxes_of_unimatch(statistics):
    size, draws = int(statistics["size"]), int(statistics["draws"])
    rng = np.random.default_rng(0)
    boxes = masks.free_boxes(rng, draws, (size, size), [0.02, 0.4], [0.3, 1 / 0.3])
    assert boxes.min() >= 0
    assert boxes.max() <= size
    boxes = masks.at_times(boxes, 0.5, rng)
    drawn = boxes.any(1)
    assert 1 - drawn.mean() == pytest.approx(statistics["unimatch_no_box_share"], abs=4 * 0.5 * (2 / draws) ** 0.5)
    height, width = sides(boxes[drawn])
    top, left = boxes[drawn, 0], boxes[drawn, 1]
    values = {"area": height * width / size**2, "height": height / size, "width": width / size}
    values |= {"top": top / size, "left": left / size}
    for name, value in values.items():
        assert_alike(value, statistics[f"unimatch_{name}"])
    # A ratio is no share: its quantiles vary more.
    assert_alike(height / width, statistics["unimatch_aspect_h_over_w"], quantile=0.05)
    assert_alike(np.log(height / width), statistics["unimatch_log_aspect"], quantile=0.05)


def test_boxes_of_half_the_area(statistics):
    size, draws = int(statistics["size"]), int(statistics["draws"])
    boxes = masks.half_boxes(np.random.default_rng(0), draws, (size, size))
    height, width = sides(boxes)
    values = {"area": height * width / size**2, "height": height / size, "width": width / size}
    for name, value in values.items():
        assert_alike(value, statistics[f"reco_cutout_{name}"])
    assert_alike(np.log(height / width), statistics["reco_cutout_log_aspect"], quantile=0.03)
    assert boxes.min() == 0
    assert boxes.max() == size


@pytest.mark.slow
def test_area_of_three_boxes(statistics):
    rng, mixer = np.random.default_rng(0), built("three_boxes")
    shares = [mixer.mask(blank(100, 128), rng).float().mean((1, 2)).numpy() for _ in range(200)]
    assert_alike(np.concatenate(shares), statistics["cps_three_boxes_area"])


@pytest.mark.parametrize(
    ("name", "share"),
    [("cutmix", 0.103), ("half_box", 0.5), ("three_boxes", 0.252), ("cutout", 0.5), ("adaptive", 0.358)],
)
def test_how_much_the_published_options_change(name, share):
    """The means of the golden file, by the options of the YAML files."""
    rng, shares = np.random.default_rng(0), []
    own, white = blank(50, 128), replace(blank(50, 128), image=torch.full((50, 3, 128, 128), 255, dtype=torch.uint8))
    numbered = replace(own, image=own.image + torch.arange(1, 51, dtype=torch.uint8)[:, None, None, None])
    for _ in range(20):
        mixed = built(name).mix(numbered, white, white, rng)
        shares.append((mixed.image != numbered.image).any(1).float().mean().item())
    # In adaptive mixing, one of the 50 rows is its own partner in the mean.
    expected = share * 0.98 if name == "adaptive" else share
    assert np.mean(shares) == pytest.approx(expected, abs=4 * np.std(shares) / 20**0.5 + 0.003)


@pytest.mark.parametrize(("name", "beta"), [("labelled", (8, 2)), ("unlabelled", (4, 4))])
def test_boxes_of_augseg(statistics, name, beta):
    size, rng = int(statistics["size"]), np.random.default_rng(0)
    batches = [masks.centered_boxes(rng, 4, (size, size), 1 - rng.beta(*beta)) for _ in range(5000)]
    height, width = sides(np.concatenate(batches))
    # The four boxes of a batch share one draw of the area: fewer independent values.
    assert_alike(height * width / size**2, statistics[f"augseg_{name}_box_area"], draws=5000)
    filled = (height > 0) & (width > 0)
    golden = statistics[f"augseg_{name}_log_aspect"]
    assert_alike(np.log(height[filled] / width[filled]), golden, draws=5000, quantile=0.03)


def test_cutout_of_stpp(statistics):
    size, rng = int(statistics["stpp_size"]), np.random.default_rng(0)
    boxes = masks.free_boxes(rng, 20_000, (size, size), [0.02, 0.4], [0.3, 1 / 0.3], keep_area=False)
    height, width = sides(boxes)
    assert_alike(height * width / size**2, statistics["stpp_cutout_area"], draws=2549)
    none = statistics["stpp_no_cutout_share"]
    assert 1 - masks.at_times(boxes, 0.5, rng).any(1).mean() == pytest.approx(none, abs=4 * 0.5 / 5000**0.5)


@pytest.mark.parametrize("classes", range(1, 9))
def test_half_of_the_classes(statistics, classes):
    label = torch.arange(classes).repeat(2500, 2)[:, None]
    chosen = masks.class_masks(np.random.default_rng(classes), label, void_is_a_class=False)
    assert chosen[..., :classes].equal(chosen[..., classes:]), "all pixels of a class"
    counts = torch.bincount(chosen[..., :classes].sum((1, 2)), minlength=9).numpy()
    assert (counts == statistics["reco_classmix_selected_counts"][classes - 1]).all()
    each = chosen[..., :classes].float().mean((0, 1)).numpy()
    assert each == pytest.approx(np.full(classes, classes // 2 / classes), abs=4 * 0.5 / 2500**0.5), (
        "all equally likely"
    )
    assert chosen.float().mean().item() == pytest.approx(statistics["reco_classmix_area_share"][classes - 1], abs=0.001)


def test_ignored_pixels_are_no_class(statistics):
    label = torch.tensor([IGNORE_INDEX, 2, 5]).repeat(20_000, 1)[:, None]
    published = masks.class_masks(np.random.default_rng(0), label, void_is_a_class=True)
    share = published[:, 0, 0].float().mean().item()
    assert share == pytest.approx(statistics["reco_classmix_void_chosen_share"], abs=4 * (0.22 / 1500) ** 0.5)
    assert share == pytest.approx(1 / 3, abs=0.015)
    ours = masks.class_masks(np.random.default_rng(0), label, void_is_a_class=False)
    assert not ours[:, 0, 0].any()
    assert (ours.sum((1, 2)) == 1).all()
    assert ours[:, 0, 1].float().mean().item() == pytest.approx(0.5, abs=0.015)


def test_draws_for_classes_do_not_depend_on_the_labels():
    states = []
    for label in (torch.zeros(3, 4, 4, dtype=torch.long), torch.arange(48).reshape(3, 4, 4)):
        rng = np.random.default_rng(0)
        masks.class_masks(rng, label, void_is_a_class=False)
        states.append(rng.bit_generator.state)
    assert states[0] == states[1]
