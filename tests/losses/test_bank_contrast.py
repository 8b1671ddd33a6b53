"""U2PL's contrast as a term: it takes the teacher's maps of the same images; its bank survives a checkpoint."""

import copy

import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX, Maps
from dmtc.losses import LOSSES, inputs_of
from dmtc.losses.memory_bank import by_entropy

SPEC = {
    "name": "memory_bank_contrast",
    **{"temperature": 0.5, "queries": 16, "negatives": 8, "min_probability": 0.0, "low_rank": 1, "high_rank": 3},
    **{"same_label": False, "start_share": 20.0, "end_share": 0.0, "bank_size": 30, "bank_size_of_first": 40},
}


def step(seed: int = 0) -> dict:
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (4, 16, 16), generator=rng)
    label[0, :4] = IGNORE_INDEX
    maps = Maps(torch.randn(4, 3, 8, 8, generator=rng), torch.randn(4, 5, 8, 8, generator=rng))
    return {
        "logits": torch.randn(4, 3, 8, 8, generator=rng),
        "embedding": torch.randn(4, 5, 8, 8, generator=rng).requires_grad_(),
        "label": label,
        "is_pseudo": torch.tensor([True, True, False, False]),
        "generator": torch.Generator().manual_seed(seed),
        "teacher_maps": maps,
    }


def test_the_bank_fits_the_network_and_survives_a_checkpoint():
    loss = LOSSES.build(SPEC)
    assert "teacher_maps" in inputs_of(loss)
    assert loss.state_dict() == {}
    value = loss(**step())
    value.loss.backward()
    assert value.loss > 0
    assert value.logs["keys"] > 0
    assert tuple(loss.contrast.bank.keys.shape) == (3, 40, 5)
    other = LOSSES.build(SPEC)
    other.load_state_dict(copy.deepcopy(loss.state_dict()))
    again = [each(**step(1)) for each in (loss, other)]
    assert torch.equal(again[0].loss, again[1].loss)
    assert torch.equal(loss.contrast.bank.keys, other.contrast.bank.keys)


def test_it_is_the_contrast_of_the_sure_pixels_of_the_teacher():
    given = step()
    loss = LOSSES.build(SPEC)
    value = loss(**given, progress=0.5)
    full = torch.nn.functional.interpolate(given["teacher_maps"].logits, (16, 16), mode="bilinear", align_corners=True)
    probability = full.softmax(1)
    entropy = -(probability * probability.log()).sum(1)
    sure, unsure = by_entropy(entropy, given["label"], given["is_pseudo"], 0.1)
    fresh = LOSSES.build(SPEC)._fitted(3, 5, torch.device("cpu"))
    expected = fresh(
        given["embedding"],
        given["teacher_maps"].embedding,
        given["teacher_maps"].logits.softmax(1),
        *(each[:, ::2, ::2] for each in (given["label"], sure, unsure)),
        given["is_pseudo"],
        torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(value.loss, expected.loss)


def test_without_a_teacher_it_is_zero():
    value = LOSSES.build(SPEC)(**step() | {"teacher_maps": None})
    value.loss.backward()
    assert value.loss == 0


@pytest.mark.parametrize("option", [{"start_share": 101.0}, {"bank_size": 0}, {"temperature": 0.0}])
def test_impossible_options_are_told(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        LOSSES.build(SPEC | option)
