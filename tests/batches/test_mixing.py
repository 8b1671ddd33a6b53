"""What holds for every mixer: nothing comes apart, nothing is drawn from elsewhere, no padding gets a label."""

import inspect
import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import yaml

from dmtc.batches.mixing import MIXERS, partner_rows
from dmtc.batches.mixing.masks import MAX_AREA
from dmtc.config.folder import config_folder
from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX, Batch

CLASSES = 5
SIZE = (14, 18)
PADDED = IGNORE_INDEX

OPTIONS = [{"name": name} for name in MIXERS.names()]
OPTIONS += [
    {"name": name, "partner": partner}
    for name in ("cutmix", "half_box", "classmix", "three_boxes")
    for partner in ("reversed", "next", "permutation", "same_image", "other_batch")
]
OPTIONS += [
    {"name": "cutmix", "probability": 1.0, "area": [0.6, MAX_AREA]},
    {"name": "half_box", "probability": 0.5, "per": "batch"},
    {"name": "classmix", "void_is_a_class": True},
    {"name": "cutout", "area": [0.1, 0.4], "fill": "noise"},
    {"name": "three_boxes", "count": 1, "area": [1.0, 1.0]},
]


def build(options):
    """A mixer with the options of its file, but for those given."""
    path = config_folder() / "mixing" / f"{options['name']}.yaml"
    defaults = yaml.safe_load(path.read_text()) if path.exists() else {}
    return MIXERS.build(defaults | options, "mixing", num_classes=CLASSES)


def batch(rows: int, source: int, size=SIZE, is_pseudo=True) -> Batch:
    """Every pixel of every batch has a color of its own, from which `told` gives all else that is known about it."""
    codes = torch.arange(rows * size[0] * size[1]).reshape(rows, *size) + 1 + 2**16 * source
    image = torch.stack([codes % 256, codes // 256 % 256, codes // 2**16], 1).to(torch.uint8)
    maps = told(image)
    if not is_pseudo:
        maps = {"label": maps["label"], "confidence": torch.ones_like(maps["confidence"])}
    return Batch(
        image=image,
        ids=tuple(f"{source}-{row}" for row in range(rows)),
        is_pseudo=torch.full((rows,), is_pseudo),
        **maps,
    )


def codes_of(image):
    return image[:, 0].long() + 256 * image[:, 1].long() + 2**16 * image[:, 2].long()


def told(image):
    codes = codes_of(image)
    label = torch.where(codes % 18 >= 14, PADDED, codes // 20 % CLASSES)
    human = codes // 2**16 == 3
    confidence = torch.where(human, 1.0, codes % 1009 / 1009).float()
    entropy = torch.where(human, 0.0, codes % 97 / 97).float()
    return {"label": label, "confidence": confidence, "entropy": entropy}


def mixed(options, rows=4, seed=0, labelled_rows=3):
    extra, labelled = batch(rows, 2), batch(labelled_rows, 3, is_pseudo=False)
    mixer = build(options)
    return mixer.mix(
        batch(rows, 1),
        extra if mixer.extra_rows else None,
        labelled if mixer.uses_labelled else None,
        np.random.default_rng(seed),
    )


def maps_of(batch: Batch):
    return {
        field.name: value for field in fields(Batch) if isinstance(value := getattr(batch, field.name), torch.Tensor)
    }


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_all_that_is_known_of_a_pixel_moves_with_it(options, rows):
    own = batch(rows, 1)
    for seed in range(8):
        result = mixed(options, rows, seed)
        assert result.ids == own.ids
        assert result.is_pseudo.equal(own.is_pseudo)
        for name, map in maps_of(result).items():
            assert map.dtype == getattr(own, name).dtype
            assert map.shape == getattr(own, name).shape
        expected = told(result.image)
        removed = torch.zeros_like(result.label, dtype=torch.bool)
        if options["name"] == "cutout":
            removed = codes_of(result.image) != codes_of(own.image)
            assert (result.label[removed] == IGNORE_INDEX).all()
            assert (result.confidence[removed] == 0).all()
        for name in ("label", "confidence"):
            assert getattr(result, name)[~removed].equal(expected[name][~removed]), name
        assert result.entropy is not None
        assert result.entropy[~removed].equal(expected["entropy"][~removed])
        assert (result.label[expected["label"] == PADDED] == IGNORE_INDEX).all(), "padding has no label"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_same_generator_gives_the_same_images(options):
    one, same, *others = (mixed(options, 4, seed) for seed in (0, 0, *range(1, 20)))
    for name, map in maps_of(one).items():
        assert map.equal(maps_of(same)[name])
    if options["name"] != "none" and options.get("area") != [1.0, 1.0]:
        assert any(not each.image.equal(one.image) for each in others)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_given_batches_stay_as_they_are(options):
    mixer = build(options)
    given = [batch(3, 1), batch(3, 2), batch(3, 3, is_pseudo=False)]
    before = [{name: map.clone() for name, map in maps_of(each).items()} for each in given]
    mixer.mix(*given, np.random.default_rng(3))
    for each, copies in zip(given, before, strict=True):
        for name, map in maps_of(each).items():
            assert map.equal(copies[name])


@pytest.mark.parametrize("partner", ["reversed", "next", "permutation"])
@pytest.mark.parametrize("count", range(1, 10))
def test_no_row_is_its_own_partner(partner, count):
    for seed in range(20):
        rows = partner_rows(partner, count, np.random.default_rng(seed))
        assert len(rows) == count
        assert set(rows) <= set(range(count))
        assert count == 1 or all(row != own for own, row in enumerate(rows))
        if partner != "reversed":
            assert sorted(rows) == list(range(count)), "each gives once"


def test_partners():
    rng = np.random.default_rng(0)
    assert partner_rows("reversed", 4, rng) == [3, 2, 1, 0]
    assert partner_rows("reversed", 3, rng) == [2, 2, 0]
    assert partner_rows("next", 4, rng) == [1, 2, 3, 0]
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state, "nothing is drawn for these"
    drawn = {tuple(partner_rows("permutation", 4, np.random.default_rng(seed))) for seed in range(200)}
    assert len(drawn) == 6, "all orders of a circle of four"


def test_which_rows_a_mixer_pastes():
    everything = {"name": "cutmix", "probability": 1.0, "area": [0.3, 0.3]}
    for partner, source in (("reversed", 1), ("same_image", 2), ("other_batch", 2)):
        codes = codes_of(mixed({**everything, "partner": partner}, rows=5).image)
        own = codes_of(batch(5, 1).image)
        new = codes != own
        assert new.flatten(1).any(1).all(), "the middle row too"
        assert (codes[new] // 2**16 == source).all()
    pixels = SIZE[0] * SIZE[1]
    codes = codes_of(mixed({**everything, "partner": "other_batch"}, rows=5).image) - 1
    rows = codes % 2**16 // pixels
    assert rows.equal(torch.arange(5)[:, None, None].expand_as(rows)), "the row at the same place"
    assert (codes % 2**16 % pixels).equal(torch.arange(pixels).reshape(SIZE).expand_as(codes)), "and the same pixel"


@pytest.mark.parametrize("name", ["cutmix", "half_box", "classmix"])
def test_an_image_alone_in_its_batch_stays_as_it_is(name):
    for seed in range(10):
        assert mixed({"name": name}, rows=1, seed=seed).image.equal(batch(1, 1).image)
    assert not mixed({"name": "cutout"}, rows=1).image.equal(batch(1, 1).image)
    assert not mixed({"name": name, "partner": "other_batch"}, rows=1, seed=1).image.equal(batch(1, 1).image)


def test_what_a_mixer_asks_for():
    asked = {name: build({"name": name}) for name in MIXERS.names()}
    assert {name for name, mixer in asked.items() if mixer.uses_labelled} == {"adaptive"}
    assert {name: set(mixer.needs) for name, mixer in asked.items() if mixer.needs} == {"adaptive": {"entropy"}}
    assert {name: mixer.extra_rows for name, mixer in asked.items() if mixer.extra_rows} == {
        "three_boxes": "other_batch"
    }
    assert build({"name": "cutmix", "partner": "same_image"}).extra_rows == "same_image"


@pytest.mark.parametrize("partner", ["same_image", "other_batch"])
def test_missing_rows_are_noticed(partner):
    mixer, rng = build({"name": "cutmix", "partner": partner}), np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"partner={partner} needs as many further rows"):
        mixer.mix(batch(3, 1), None, None, rng)
    with pytest.raises(ValueError, match="needs as many further rows"):
        mixer.mix(batch(3, 1), batch(1, 2), None, rng)


def test_missing_labelled_rows_and_entropy_are_noticed():
    mixer, rng = build({"name": "adaptive"}), np.random.default_rng(0)
    for labelled in (None, batch(3, 3).take(slice(0, 0))):
        with pytest.raises(ValueError, match="needs labelled rows"):
            mixer.mix(batch(3, 1), None, labelled, rng)
    with pytest.raises(ValueError, match="entropy"):
        mixer.mix(replace(batch(3, 1), entropy=None), None, batch(3, 3), rng)


def test_labelled_pixels_go_where_the_teacher_is_unsure():
    def given(confidence, label):
        own = batch(20, 1)
        own = replace(
            own, confidence=torch.full_like(own.confidence, confidence), entropy=torch.zeros_like(own.entropy)
        )
        own = replace(own, label=torch.full_like(own.label, label))
        mixer = build({"name": "adaptive", "labelled": [1.0, 50.0], "unlabelled": [1.0, 50.0]})
        result = mixer.mix(own, None, batch(3, 3, is_pseudo=False), np.random.default_rng(0))
        return codes_of(result.image) // 2**16 == 3

    assert not given(1.0, 0).any()
    assert given(0.0, 0).flatten(1).any(1).all()
    assert given(1.0, PADDED).flatten(1).any(1).all(), "padding tells nothing"
    assert 4 <= given(0.5, 0).flatten(1).any(1).sum() <= 16


def test_logits_are_mixed_too():
    own = batch(4, 1)
    own = replace(own, logits=codes_of(own.image)[:, None].float() * torch.tensor([1.0, -1.0])[:, None, None])
    for name in ("cutmix", "half_box", "classmix"):
        result = build({"name": name}).mix(own, None, None, np.random.default_rng(1))
        assert result.logits is not None
        assert result.logits.equal(codes_of(result.image)[:, None].float() * torch.tensor([1.0, -1.0])[:, None, None])
        assert not result.image.equal(own.image)


def test_probabilities():
    for seed in range(5):
        for name in ("cutmix", "half_box", "cutout"):
            assert mixed({"name": name, "probability": 0.0}, seed=seed).image.equal(batch(4, 1).image)
        changed = (mixed({"name": "half_box", "probability": 1.0}, seed=seed).image != batch(4, 1).image).flatten(1)
        assert changed.any(1).all()
    shares = {"image": set(), "batch": set()}
    for per, seen in shares.items():
        for seed in range(40):
            result = mixed({"name": "half_box", "probability": 0.5, "per": per}, seed=seed)
            seen.add(int((result.image != batch(4, 1).image).flatten(1).any(1).sum()))
    assert shares["batch"] == {0, 4}
    assert {1, 2, 3} <= shares["image"]


def test_noise_fills_what_is_cut_out():
    black, noise = (mixed({"name": "cutout", "fill": fill}, seed=2) for fill in ("black", "noise"))
    gone = codes_of(black.image) == 0
    assert black.label.equal(noise.label)
    assert gone.float().mean().item() == pytest.approx(0.5, abs=0.05)
    for channel in noise.image.unbind(1):
        assert len(channel[gone].unique()) > 100
    assert noise.image.movedim(1, -1)[~gone].equal(black.image.movedim(1, -1)[~gone])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cutmix", "probability": 1.5}, "mixing.probability should be a probability in [0, 1], but is 1.5"),
        ({"name": "cutmix", "area": [0.4, 0.2]}, "mixing.area should be a minimum and maximum in (0, 0.9]"),
        ({"name": "cutmix", "area": [0.1, 0.95]}, "mixing.area should be"),
        ({"name": "cutmix", "area": [0.0, 0.5]}, "mixing.area should be"),
        ({"name": "cutmix", "area": [0.5]}, "mixing.area should be"),
        ({"name": "cutmix", "aspect": [1.5, 2.0]}, "mixing.aspect should be a minimum of at most 1"),
        ({"name": "cutmix", "aspect": [0.5, float("inf")]}, "mixing.aspect should be"),
        ({"name": "cutmix", "aspect": [0.5]}, "mixing.aspect should be"),
        ({"name": "cutmix", "partner": "previous"}, "mixing.partner should be"),
        ({"name": "half_box", "probability": -0.1}, "mixing.probability should be"),
        ({"name": "half_box", "per": "step"}, "mixing.per should be"),
        ({"name": "cutout", "probability": 2.0}, "mixing.probability should be"),
        ({"name": "cutout", "area": [0.5, 1.0]}, "mixing.area should be"),
        ({"name": "cutout", "fill": "gray"}, "mixing.fill should be"),
        ({"name": "three_boxes", "count": 0}, "mixing.count should be at least 1, but is 0"),
        ({"name": "three_boxes", "area": [0.2, 1.2]}, "mixing.area should be a minimum and maximum in (0, 1]"),
        ({"name": "adaptive", "labelled": [8.0]}, "mixing.labelled should be two positive parameters"),
        ({"name": "adaptive", "unlabelled": [4.0, 0.0]}, "mixing.unlabelled should be two positive parameters"),
        ({"name": "adaptive", "num_classes": 3}, "mixing.num_classes is set by the library"),
        ({"name": "cutmax"}, "mixing: unknown mixer 'cutmax'. Did you mean 'cutmix'?"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(options)


def test_every_fault_is_told_at_once():
    with pytest.raises(ConfigError, match=r"mixing\.probability.*mixing\.area.*mixing\.aspect"):
        build({"name": "cutmix", "probability": 2.0, "area": [], "aspect": []})


@pytest.mark.parametrize("name", MIXERS.names())
def test_each_mixer_has_a_file_with_all_its_options(name):
    options = yaml.safe_load((config_folder() / "mixing" / f"{name}.yaml").read_text())
    assert options.pop("name") == name
    assert set(options) == set(inspect.signature(MIXERS.builder(name)).parameters) - MIXERS.runtime
    assert all(each.default is each.empty for each in inspect.signature(MIXERS.builder(name)).parameters.values())


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 40), (40, 3)])
@pytest.mark.parametrize(
    "options",
    [*OPTIONS, {"name": "cutmix", "area": [0.5, MAX_AREA]}, {"name": "cutout", "area": [MAX_AREA, MAX_AREA]}],
    ids=str,
)
def test_images_of_any_size(options, size):
    mixer = build(options)
    for seed in range(5):
        own, extra, labelled = (batch(2, source, size, source < 3) for source in (1, 2, 3))
        result = mixer.mix(own, extra, labelled, np.random.default_rng(seed))
        assert result.image.shape == own.image.shape
        if options["name"] != "cutout":
            assert result.label.equal(told(result.image)["label"])
