"""U2PL's contrast with a bank: golden keys, means of value and gradient, and what its code gets wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX
from dmtc.losses.key_bank import KeyBank
from dmtc.losses.memory_bank import BankSettings, MemoryBankContrast, by_entropy, shrunk
from together import together

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "u2pl.npz")
SETTINGS = {
    **{"temperature": 0.5, "queries": 64, "negatives": 32, "min_probability": 0.3},
    **{"low_rank": 2, "high_rank": 4, "same_label": True},
}
IS_PSEUDO = torch.tensor([False, True])


def golden(tag, key):
    return torch.from_numpy(GOLDEN[f"bank_{tag}_{key}"])


def contrast(tag, **changes):
    loss = MemoryBankContrast(BankSettings(**SETTINGS | changes), sizes=[200] * 5, channels=8)
    for c in range(5):
        loss.bank.load(c, golden(tag, f"before_{c}"))
    return loss


def arguments(tag):
    label = torch.cat([golden(tag, "label_l"), golden(tag, "label_u")])
    probability = torch.cat([golden(tag, "prob_l"), golden(tag, "prob_u")])
    sure, unsure = (golden(tag, f"{name}_mask")[:, 0] == 1 for name in ("low", "high"))
    return {
        "teacher_embedding": golden(tag, "rep_teacher"),
        "probability": probability,
        "label": label,
        "sure": sure,
        "unsure": unsure,
        "is_pseudo": IS_PSEUDO,
    }


def without_labelled_keys(tag):
    """In the published code, no labelled pixel ever becomes a key."""
    given = arguments(tag)
    given["unsure"] = given["unsure"] & IS_PSEUDO[:, None, None]
    return given


@pytest.mark.parametrize("tag", ["all", "no0"])
def test_golden_keys(tag):
    loss = contrast(tag)
    loss(golden(tag, "rep"), **without_labelled_keys(tag))
    for c in range(5):
        assert torch.equal(loss.bank.vectors(c), golden(tag, f"after_{c}"))


def test_golden_means_of_value_and_gradient():
    generator, values, gradients = torch.Generator().manual_seed(0), [], []
    for _ in range(150):
        embedding = golden("all", "rep").requires_grad_()
        value = contrast("all")(embedding, **without_labelled_keys("all"), generator=generator)
        value.loss.backward()
        values.append(value.loss.item())
        gradients.append(embedding.grad)
    spread = np.sqrt(1 / len(values) + 1 / int(GOLDEN["bank_all_draws"]))
    assert np.std(values) == pytest.approx(GOLDEN["bank_all_loss_std"], rel=0.3)
    assert abs(np.mean(values) - GOLDEN["bank_all_loss_mean"]) < 4 * spread * GOLDEN["bank_all_loss_std"]
    expected = golden("all", "grad_mean")
    error = torch.stack(gradients).mean(0) - expected
    noise = torch.stack(gradients).std(0) * spread
    assert (error.abs() <= 5 * noise + 1e-7).all()
    assert torch.equal(noise > 0, expected != 0)


def test_a_class_meets_its_own_bank_when_another_is_absent():
    """Keys that equal the class mean cost log(1 + negatives), in whatever bank; all others are opposite to it."""
    given = without_labelled_keys("no0")
    given["unsure"] = torch.zeros_like(given["unsure"])
    features = torch.eye(8)[given["label"]].movedim(-1, 1)
    given["teacher_embedding"] = features
    loss = contrast("no0")
    for c in range(5):
        loss.bank.load(c, torch.eye(8)[c][None])
    value = loss(features, **given)
    assert value.loss.item() == pytest.approx(np.log(1 + SETTINGS["negatives"]), rel=1e-5)
    assert value.logs["keys"] == 5


def test_labelled_pixels_of_another_class_enter_the_bank():
    given = arguments("all")
    given["unsure"] = given["unsure"] & ~IS_PSEUDO[:, None, None]
    loss = contrast("all")
    loss(golden("all", "rep"), **given)
    order = given["probability"][0].argsort(0, descending=True)[:2]
    for c in range(5):
        wanted = given["unsure"][0] & (order == c).any(0) & (given["label"][0] != c)
        new = loss.bank.vectors(c)[len(golden("all", f"before_{c}")) :]
        assert torch.equal(new, given["teacher_embedding"][0][:, wanted].T)
        assert len(new) > 0


def test_keys_of_any_label():
    sizes = []
    for same_label in (True, False):
        loss = contrast("all", same_label=same_label)
        loss(golden("all", "rep"), **without_labelled_keys("all"))
        sizes.append(loss.bank.counts())
    assert (sizes[1] > sizes[0]).all()


@pytest.mark.parametrize("case", ["all_ignored", "one_class", "empty_bank"])
def test_nothing_to_compare_is_zero_with_zero_gradient(case):
    given = arguments("all")
    loss = contrast("all")
    if case == "all_ignored":
        given["label"] = torch.full_like(given["label"], IGNORE_INDEX)
    if case == "one_class":
        given["label"] = torch.zeros_like(given["label"])
    if case == "empty_bank":
        given["unsure"] = torch.zeros_like(given["unsure"])
        loss = MemoryBankContrast(BankSettings(**SETTINGS), sizes=[2] * 5, channels=8)
    embedding = golden("all", "rep").requires_grad_()
    value = loss(embedding, **given)
    value.loss.backward()
    assert value.loss == 0
    assert (embedding.grad == 0).all()


def test_processes_share_their_keys():
    def step(player):
        given = {name: each[player.rank :: 2] for name, each in arguments("all").items()}
        loss = contrast("all")
        loss(golden("all", "rep")[player.rank :: 2], **given, processes=player)
        return [loss.bank.vectors(c) for c in range(5)]

    alone = contrast("all")
    alone(golden("all", "rep"), **arguments("all"))
    one, other = together(2, step)
    for c in range(5):
        assert torch.equal(one[c], other[c])
        assert torch.equal(one[c], alone.bank.vectors(c))


@pytest.mark.parametrize(("alpha", "share"), [("20", 0.2), ("5", 0.05)])
def test_golden_sure_and_unsure_pixels(alpha, share):
    probability, label = torch.from_numpy(GOLDEN["teacher"]).softmax(1), torch.from_numpy(GOLDEN["target"])
    entropy = -(probability * probability.log()).sum(1)
    sure, unsure = by_entropy(entropy, label, torch.tensor([True, True]), share)
    np.testing.assert_array_equal(sure, GOLDEN[f"entropy_low_a{alpha}"] == 1)
    np.testing.assert_array_equal(unsure, GOLDEN[f"entropy_high_a{alpha}"] == 1)
    labelled = by_entropy(entropy, label, torch.tensor([False, True]), share)
    assert all(torch.equal(each[0], label[0] != IGNORE_INDEX) for each in labelled)


def test_a_bank_keeps_the_newest():
    bank = KeyBank(sizes=[3, 5], channels=1)
    seen = [[], []]
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        number = int(torch.randint(0, 8, (), generator=generator))
        vectors = 100 * step + torch.arange(number, dtype=torch.float32)[:, None]
        chosen = torch.rand(2, number, generator=generator) < 0.6
        bank.add(vectors, chosen)
        for c, size in enumerate((3, 5)):
            seen[c] = (seen[c] + vectors[chosen[c]].flatten().tolist())[-size:]
            assert bank.vectors(c).flatten().tolist() == seen[c]
            assert bank.counts()[c] == len(seen[c])
    other = KeyBank(sizes=[3, 5], channels=1)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.vectors(1), bank.vectors(1))


def test_labels_at_the_size_of_a_map():
    label = torch.tensor([[[1, 2, 3, 255]]])
    assert shrunk(label, (1, 2)).tolist() == [[[1, 3]]]
    assert shrunk(label > 2, (1, 4)).tolist() == [[[False, False, True, True]]]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0.0),
        ("queries", 0),
        ("negatives", 0),
        ("min_probability", 1.0),
        ("low_rank", -1),
        ("high_rank", 2),
    ],
)
def test_impossible_settings_are_refused(option, value):
    with pytest.raises(ConfigError, match=rf"BankSettings\.{option} should be"):
        BankSettings(**SETTINGS | {option: value})
    with pytest.raises(ConfigError, match="a bank needs room"):
        KeyBank(sizes=[0], channels=2)
