"""Regional contrast against golden means, a plain reference, and cases with a known answer."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX
from dmtc.losses import RegionalContrast, SharedContrast
from dmtc.losses.sampling import PixelsByClass

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "reco_loss.npz")
SETTINGS = {"temperature": 0.5, "queries": 16, "negatives": 32, "strong_threshold": 0.97, "min_confidence": 0.0}


@pytest.fixture(params=[RegionalContrast, SharedContrast])
def Contrast(request):
    """Both ways to draw negative keys."""
    return request.param


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def value_and_gradient(loss, embedding, *rest):
    embedding = embedding.clone().requires_grad_()
    value = loss(embedding, *rest)
    value.loss.backward()
    return value, embedding.grad


def golden_inputs(dtype=torch.float32):
    maps = [torch.tensor(GOLDEN[name], dtype=dtype) for name in ("rep_low", "logits_low")]
    return *maps, torch.tensor(GOLDEN["label"]).long()


def sectors(classes, dtype=torch.float32):
    """Vertical stripes of constant orthonormal features, one a class, with an ignored pixel where stripes mix."""
    features = torch.eye(8, dtype=dtype)[: len(classes)]
    embedding = 3 * features.repeat_interleave(2, dim=0).T.reshape(1, 8, 1, -1).expand(-1, -1, 4, -1).contiguous()
    cells = embedding.shape[-1]
    label = torch.full((1, 10, 3 * (cells - 1) + 1), IGNORE_INDEX)  # three pixels a cell
    for index, c in enumerate(classes):
        label[..., 6 * index : 6 * index + 4] = c
    return embedding, torch.zeros(1, 6, 4, cells, dtype=dtype), label


@pytest.mark.parametrize("case", ["thr0.97_temp0.5_q64_n128", "thr0.6_temp0.25_q32_n64"])
def test_golden_means_of_value_and_gradient(case, Contrast):
    """Keys that queries share change neither mean, and single draws vary no more than the tolerance allows."""
    threshold, temperature, queries, negatives = map(float, re.findall(r"[\d.]+", case))
    loss = Contrast(
        temperature=temperature,
        queries=int(queries),
        negatives=int(negatives),
        strong_threshold=threshold,
        min_confidence=0.0,
    )
    source, draws = generator(), 120
    runs = [value_and_gradient(loss, *golden_inputs(), source) for _ in range(draws)]
    spread = np.sqrt(1 / draws + 1 / int(GOLDEN[f"{case}_draws"]))

    mean = np.mean([value.loss.item() for value, _ in runs])
    assert abs(mean - GOLDEN[f"{case}_loss_mean"]) < 4 * spread * GOLDEN[f"{case}_loss_std"]
    gradient = torch.stack([gradient for _, gradient in runs]).mean(0).numpy()
    errors = (gradient - GOLDEN[f"{case}_grad_mean"]) / (spread * GOLDEN[f"{case}_grad_std"])
    # Of 1568 figures, one may by chance lie a little beyond 4.
    assert np.mean(np.abs(errors) < 4) > 0.998
    assert np.sqrt(np.mean(errors**2)) < 1.1


def test_equals_a_plain_reference_on_the_same_draws(monkeypatch):
    """The reference upsamples everything and loops over queries."""

    def recorded(name):
        original, calls = getattr(PixelsByClass, name), []

        def record(*arguments, **options):
            calls.append(original(*arguments, **options))
            return calls[-1]

        monkeypatch.setattr(PixelsByClass, name, record)
        return calls

    drawn_queries, drawn_keys = recorded("draw_hard"), recorded("draw")
    embedding, logits, label = golden_inputs(torch.float64)
    value, gradient = value_and_gradient(RegionalContrast(**SETTINGS), embedding, logits, label, generator())

    embedding.requires_grad_()
    full = F.interpolate(embedding, label.shape[1:], mode="bilinear", align_corners=True)
    vectors, flat = full.permute(0, 2, 3, 1).flatten(0, 2), label.flatten()
    total = torch.zeros((), dtype=torch.float64)
    for queries, keys in zip(drawn_queries, drawn_keys, strict=True):
        own = flat[queries[0]]
        positive = vectors[flat == own].mean(0)
        for query, query_keys in zip(queries, keys, strict=True):
            candidates = torch.cat([positive.unsqueeze(0), vectors[query_keys]]).detach()
            scores = F.cosine_similarity(vectors[query].unsqueeze(0), candidates) / SETTINGS["temperature"]
            total = total + F.cross_entropy(scores.unsqueeze(0), torch.tensor([0])) / len(queries)
    total = total / len(set(flat.tolist()) - {IGNORE_INDEX})
    total.backward()
    assert value.loss.item() == pytest.approx(total.item(), rel=1e-10)
    torch.testing.assert_close(gradient, embedding.grad)


@pytest.mark.parametrize("classes", [(0, 1), (5, 2), (3, 0, 4)])
def test_constant_features_have_no_sampling_noise(classes, Contrast):
    """Orthonormal features: every query has cosine 1 to its own class and 0 to all others, whatever their names."""
    loss = Contrast(**SETTINGS)
    expected = np.log1p(SETTINGS["negatives"] * np.exp(-1 / SETTINGS["temperature"]))
    for seed in range(3):
        assert loss(*sectors(classes), generator(seed)).loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_length_of_the_features_does_not_matter(Contrast):
    embedding, logits, label = golden_inputs()
    loss = Contrast(**SETTINGS)
    first = loss(embedding, logits, label, generator())
    torch.testing.assert_close(loss(100 * embedding, logits, label, generator()).loss, first.loss)


def test_a_class_without_hard_pixels_adds_nothing_but_counts(Contrast):
    embedding, logits, label = sectors((0, 1))
    both = Contrast(**SETTINGS)(embedding, logits, label)
    logits[:, 0, :, :2] = 50  # sure of class 0 all over its stripe
    one = Contrast(**SETTINGS)(embedding, logits, label)
    torch.testing.assert_close(one.loss, both.loss / 2)
    assert both.logs["hard"] == 1
    assert one.logs["hard"] == 0.5


@pytest.mark.parametrize("case", ["one class", "all ignored", "nothing hard"])
def test_nothing_to_contrast_gives_zero_with_zero_gradient(case, Contrast):
    embedding, logits, label = sectors((0, 1))
    if case == "one class":
        label[label == 1] = IGNORE_INDEX
    elif case == "all ignored":
        label[:] = IGNORE_INDEX
    else:
        logits = F.one_hot(torch.tensor([0, 0, 1, 1]), 6).T.reshape(1, 6, 1, 4).expand(1, 6, 4, 4) * 50.0
    value, gradient = value_and_gradient(Contrast(**SETTINGS), embedding, logits, label)
    assert value.loss == 0
    assert torch.equal(gradient, torch.zeros_like(embedding))
    assert all(torch.isfinite(log) and log.ndim == 0 for log in value.logs.values())


def test_ignored_pixels_are_neither_keys_nor_queries(Contrast):
    embedding, logits, label = golden_inputs()
    label[:, :13] = IGNORE_INDEX  # covers every pixel that the cells of the first rows reach
    poisoned = embedding.clone()
    poisoned[:, :, :3] = 1e6
    loss = Contrast(**SETTINGS)
    value, gradient = value_and_gradient(loss, embedding, logits, label, generator())
    same, same_gradient = value_and_gradient(loss, poisoned, logits, label, generator())
    assert value.loss > 0
    assert same.loss == value.loss
    assert torch.equal(same_gradient, gradient)
    assert gradient[:, :, :3].abs().max() == 0


def test_the_generator_decides_the_draws(Contrast):
    inputs, loss = golden_inputs(), Contrast(**SETTINGS)
    first, second = (value_and_gradient(loss, *inputs, generator(7)) for _ in range(2))
    assert first[0].loss == second[0].loss
    assert torch.equal(first[1], second[1])
    assert loss(*inputs, generator(8)).loss != first[0].loss
    state = torch.get_rng_state()
    loss(*inputs, generator(7))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.isfinite(loss(*inputs).loss)


def test_half_precision_maps_are_computed_in_full_precision(Contrast):
    embedding, logits, label = golden_inputs(torch.bfloat16)
    loss = Contrast(**SETTINGS)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(loss, embedding, logits, label, generator())
    assert value.loss.dtype == torch.float32
    assert value.loss == loss(embedding.float(), logits.float(), label, generator()).loss
    assert gradient.dtype == torch.bfloat16


def test_only_the_embedding_gets_gradient(Contrast):
    embedding, logits, label = golden_inputs()
    logits.requires_grad_()
    _, gradient = value_and_gradient(Contrast(**SETTINGS), embedding, logits, label)
    assert gradient.abs().max() > 0
    assert logits.grad is None
    with torch.no_grad():
        assert not Contrast(**SETTINGS)(embedding, logits, label).loss.requires_grad


def test_all_zero_features_stay_finite(Contrast):
    embedding, logits, label = golden_inputs()
    value, gradient = value_and_gradient(Contrast(**SETTINGS), embedding * 0, logits, label)
    assert torch.isfinite(value.loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", 0), ("queries", 0), ("negatives", 0), ("strong_threshold", 0.0), ("min_confidence", -0.1)],
)
def test_impossible_settings_are_refused(option, value):
    with pytest.raises(ConfigError, match=f"RegionalContrast.{option} should be"):
        RegionalContrast(**SETTINGS | {option: value})


def test_confidence_is_not_read_unless_asked():
    settings = {name: value for name, value in SETTINGS.items() if name != "min_confidence"}
    assert RegionalContrast(**settings) == RegionalContrast(**SETTINGS)


def test_the_smallest_settings_are_fine():
    assert RegionalContrast(**SETTINGS | {"queries": 1, "negatives": 1, "strong_threshold": 1.0}).queries == 1


def test_an_unsure_pixel_is_neither_key_nor_query(Contrast):
    embedding, logits, label = golden_inputs()
    confidence = torch.rand(label.shape, generator=generator(1))
    loss = Contrast(**SETTINGS | {"min_confidence": 0.7})
    masked = label.where(confidence >= 0.7, IGNORE_INDEX)
    expected, gradient = value_and_gradient(Contrast(**SETTINGS), embedding, logits, masked, generator())
    value, found = value_and_gradient(loss, embedding, logits, label, generator(), confidence)
    assert torch.equal(value.loss, expected.loss)
    assert torch.equal(found, gradient)
    assert torch.equal(value.logs["hard"], expected.logs["hard"])
    everything = value_and_gradient(Contrast(**SETTINGS), embedding, logits, label, generator(), confidence)
    assert not torch.equal(everything[0].loss, value.loss), "0 keeps all"
