"""Which pixels a selection takes, alone and with other processes, and what a loss makes of it."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.levels import confidence_histogram, level_of
from dmtc.core.types import IGNORE_INDEX
from dmtc.losses import LOSSES, SELECTIONS, HardPixelCrossEntropy, SelectedCrossEntropy
from dmtc.losses.selection import Pixels
from dmtc.pseudo.selection import threshold_levels
from registered import own_names
from together import together

EXAMPLES = {
    "everything": {},
    "threshold": {"threshold": 0.5},
    "class_share": {"start": 0.2, "end": 0.8},
    "running_threshold": {"start": 0.6, "momentum": 0.5},
    "entropy_percentile": {"start_drop": 40.0, "end_drop": 10.0},
    "image_share": {"threshold": 0.5, "count_ignored": False},
    "image_mean": {"summed": True},
}
DIVISORS = ["valid", "all", "kept", "kept_rescaled", "ce_positive"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def spec(name):
    return {"name": name, **EXAMPLES[name]}


def drawn(rows=4, size=12, num_classes=5, progress=0.25):
    source = generator()
    label = torch.randint(num_classes, (rows, size, size), generator=source)
    label[torch.rand(label.shape, generator=source) < 0.2] = IGNORE_INDEX
    confidence, entropy = torch.rand(2, *label.shape, generator=source)
    return Pixels(label, confidence, num_classes, entropy, progress)


def rows_of(pixels, rank, size, processes):
    maps = (each[rank::size] for each in (pixels.label, pixels.confidence, pixels.entropy))
    label, confidence, entropy = maps
    return Pixels(label, confidence, pixels.num_classes, entropy, pixels.progress, processes)


def test_every_selection_has_an_example():
    assert own_names(SELECTIONS) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_processes_select_what_one_would(name):
    pixels = drawn()
    whole = SELECTIONS.build(spec(name))(pixels)
    each = SELECTIONS.build(spec(name))
    parts = together(2, lambda player: copy.deepcopy(each)(rows_of(pixels, player.rank, 2, player)))
    assert whole.shape == pixels.label.shape
    assert whole[pixels.valid].any()
    for rank, part in enumerate(parts):
        torch.testing.assert_close(part, whole[rank::2])


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_parts_of_a_batch_add_up_by_their_divisors(name, divisor):
    pixels = drawn()
    logits = torch.randn(4, 5, 12, 12, generator=generator(1))
    loss = SelectedCrossEntropy(selection=spec(name), divisor=divisor)

    def value(loss, rows, logits, processes=None):
        return loss(logits, rows.label, rows.confidence, rows.entropy, 0.25, processes)

    def part(player):
        rank = player.rank
        return value(copy.deepcopy(loss), rows_of(pixels, rank, 2, player), logits[rank::2], player)

    parts = together(2, part)
    whole = value(copy.deepcopy(loss), pixels, logits)
    counted = sum(each.divisor for each in parts)
    assert counted == whole.divisor > 0
    torch.testing.assert_close(sum(each.loss * each.divisor for each in parts) / counted, whole.loss)


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_valid_is_zero_with_zero_gradient(name, divisor):
    logits = torch.randn(2, 3, 4, 4).requires_grad_()
    loss = SelectedCrossEntropy(selection=spec(name), divisor=divisor)
    label = torch.full((2, 4, 4), IGNORE_INDEX)
    value = loss(logits, label, torch.rand(2, 4, 4), torch.rand(2, 4, 4))
    value.loss.backward()
    assert value.loss == 0 == value.logs["kept"] == value.logs["confidence"]
    assert (logits.grad == 0).all()
    assert value.divisor == (32 if divisor == "all" else 0)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.2), (0.5, 0.5)])
def test_class_share_is_that_of_stored_labels(progress, share):
    pixels = drawn(progress=progress)
    level = level_of(pixels.confidence.logit())
    histogram = confidence_histogram(pixels.label[pixels.valid], level[pixels.valid], 5)
    lowest = torch.from_numpy(threshold_levels(histogram.numpy(), share))
    kept = SELECTIONS.build(spec("class_share"))(pixels)
    for c in range(5):
        of_class = pixels.label == c
        assert torch.equal(kept[of_class], (level >= lowest[c])[of_class])


def test_class_share_of_one_keeps_all_and_a_rare_class_too():
    pixels = drawn()
    everything = SELECTIONS.build({"name": "class_share", "start": 1.0, "end": 1.0})
    assert everything(pixels)[pixels.valid].all()
    label = torch.zeros(1, 2, 4, dtype=torch.long)
    label[0, 0, :2] = 1
    rare = SELECTIONS.build({"name": "class_share", "start": 0.4, "end": 0.4})
    kept = rare(Pixels(label, torch.linspace(0.1, 0.9, 8).view(1, 2, 4), 2))
    assert kept[label == 1].all()
    assert kept[label == 0].tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("drop", [0, 3, 20, 37.5, 100])
def test_entropy_percentile_is_numpys(drop):
    pixels = drawn()
    entropy = pixels.entropy.numpy()
    expected = entropy < np.percentile(entropy[pixels.valid.numpy()], 100 - drop)
    selection = SELECTIONS.build({"name": "entropy_percentile", "start_drop": drop, "end_drop": drop})
    kept = selection(pixels)[pixels.valid]
    assert kept.tolist() == expected[pixels.valid.numpy()].tolist()


def test_entropy_percentile_without_entropy_is_explained():
    loss = SelectedCrossEntropy(selection=spec("entropy_percentile"), divisor="kept")
    assert loss.needs == {"entropy"}
    with pytest.raises(ConfigError, match="needs the teacher's entropy"):
        loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), torch.ones(1, 2, 2))


@pytest.mark.parametrize("momentum", [0.999, 0.9])
def test_running_threshold_of_corrmatch(momentum):
    golden = np.load(Path(__file__).parents[1] / "golden" / "peers" / "corrmatch.npz")
    selection = SELECTIONS.build({"name": "running_threshold", "start": 0.85, "momentum": momentum})
    found = []
    for logits, ignored in zip(golden["threshold_logits"], golden["threshold_ignore"], strict=True):
        confidence, label = torch.from_numpy(logits).softmax(1).max(1)
        label = label.where(torch.from_numpy(ignored) != IGNORE_INDEX, IGNORE_INDEX)
        kept = selection(Pixels(label, confidence, logits.shape[1]))
        found.append(selection.threshold.item())
        assert torch.equal(kept, confidence >= found[-1])
    assert found == pytest.approx(golden[f"threshold_sequence_m{momentum}"], rel=1e-5)


def test_running_threshold_is_state_of_the_loss():
    loss = SelectedCrossEntropy(selection=spec("running_threshold"), divisor="valid")
    other = copy.deepcopy(loss)
    pixels = drawn()
    loss(torch.randn(4, 5, 12, 12), pixels.label, pixels.confidence)
    assert loss.selection.threshold != other.selection.threshold
    other.load_state_dict(loss.state_dict())
    assert loss.selection.threshold == other.selection.threshold
    before = loss.selection.threshold
    loss(torch.randn(4, 5, 12, 12), torch.full_like(pixels.label, IGNORE_INDEX), pixels.confidence)
    assert loss.selection.threshold == before, "nothing to learn from"


WRONG = [
    ("threshold", "threshold", 1.5),
    ("class_share", "start", 0.0),
    ("class_share", "end", 1.1),
    ("running_threshold", "start", -0.1),
    ("running_threshold", "momentum", 2.0),
    ("entropy_percentile", "start_drop", 101.0),
    ("entropy_percentile", "end_drop", -1.0),
    ("image_share", "threshold", -0.1),
]


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_options_out_of_range(name, option, value):
    with pytest.raises(ConfigError, match=rf"\.{option} should be"):
        SELECTIONS.build(spec(name) | {option: value})


@pytest.mark.parametrize(("option", "value"), [("threshold", 0.0), ("threshold", 1.0), ("min_kept", 0)])
def test_options_of_hard_pixels_out_of_range(option, value):
    with pytest.raises(ConfigError, match=rf"\.{option} should be"):
        HardPixelCrossEntropy(**{"threshold": 0.7, "min_kept": 1} | {option: value})


def test_hard_pixels_of_the_whole_batch():
    pixels = drawn()
    logits = torch.randn(4, 5, 12, 12, generator=generator(1))
    loss = HardPixelCrossEntropy(threshold=0.01, min_kept=50)
    whole = loss(logits, pixels.label)
    parts = together(2, lambda player: loss(logits[player.rank :: 2], pixels.label[player.rank :: 2], player))
    assert [part.divisor.item() for part in parts] != [25, 25]
    assert sum(part.divisor for part in parts) == whole.divisor == 50
    torch.testing.assert_close(sum(part.loss * part.divisor for part in parts) / 50, whole.loss)
    nothing = loss(logits.requires_grad_(), torch.full_like(pixels.label, IGNORE_INDEX))
    nothing.loss.backward()
    assert nothing.loss == 0 == nothing.divisor
    assert (logits.grad == 0).all()


def test_an_unknown_divisor_or_selection_is_refused():
    where = {"name": "selected_cross_entropy", "selection": spec("threshold"), "divisor": "valid"}
    assert LOSSES.faults(where, "loss.x") == []
    assert "divisor" in LOSSES.faults(where | {"divisor": "some"}, "loss.x")[0]
    with pytest.raises(
        ConfigError, match=r"loss\.x\.selection: unknown selection 'treshold'\. Did you mean 'threshold'"
    ):
        LOSSES.build(where | {"selection": {"name": "treshold"}}, "loss.x")
