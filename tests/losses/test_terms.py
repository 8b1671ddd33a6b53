"""The terms of a loss: which count in which stage, what they add up to, and what is refused."""

import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX, StepInputs
from dmtc.losses.terms import (
    ActiveTerm,
    build_terms,
    needs_embedding,
    pixel_weights,
    term_faults,
    terms_of_stage,
    total_loss,
)

CROSS_ENTROPY = {"name": "cross_entropy", "weight": {"start": 1.0, "rounds": 0.0}}
MUTUAL = {"name": "dynamic_mutual", "gamma_agree": 5.0, "gamma_disagree": 5.0, "weight": {"start": 0.0, "rounds": 0.5}}
CONTRAST = {
    "name": "regional_contrast",
    "temperature": 0.5,
    "queries": 8,
    "negatives": 8,
    "strong_threshold": 0.97,
    "min_confidence": 0.0,
}
SPEC = {
    "name": "mine",
    "terms": {"supervised": "cross_entropy", "mutual": "dynamic_mutual"},
    "supervised": CROSS_ENTROPY,
    "mutual": MUTUAL,
    "off": None,
}


def contrast(start: float, rounds: float = 0.0):
    return SPEC | {"contrastive": CONTRAST | {"weight": {"start": start, "rounds": rounds}}}


def step_inputs() -> StepInputs:
    generator = torch.Generator().manual_seed(0)
    return StepInputs(
        logits=torch.randn(2, 3, 4, 4, generator=generator),
        embedding=None,
        label=torch.randint(0, 3, (2, 4, 4), generator=generator),
        confidence=torch.rand(2, 4, 4, generator=generator),
        is_pseudo=torch.tensor([True, False]),
        generator=generator,
    )


class Alike:
    """The same inputs for every term, in one part."""

    progress = 0.0

    def __init__(self, inputs):
        self._inputs = inputs

    def of(self, rows):
        return self._inputs

    def shares(self, divisors):
        return [1.0] * len(divisors)


def test_a_stage_has_the_terms_with_a_weight_there():
    terms = build_terms(SPEC)
    assert [(name, weight) for name, weight, *_ in terms_of_stage(terms, "start")] == [("supervised", 1.0)]
    assert [(name, weight) for name, weight, *_ in terms_of_stage(terms, "rounds")] == [("mutual", 0.5)]


def test_a_stage_without_a_term_is_refused():
    with pytest.raises(ConfigError, match=r"no loss term counts in the rounds: set one of loss\.supervised"):
        terms_of_stage(build_terms({key: of for key, of in SPEC.items() if key != "mutual"}), "rounds")


@pytest.mark.parametrize(("start", "rounds", "needed"), [(0.0, 0.0, False), (1.0, 0.0, True), (0.0, 0.1, True)])
def test_an_embedding_is_needed_where_a_term_that_counts_takes_it(start, rounds, needed):
    assert needs_embedding(build_terms(contrast(start, rounds))) is needed


def test_the_loss_is_the_weighted_sum_and_every_term_is_logged_unweighted():
    inputs, terms = step_inputs(), build_terms(SPEC)
    active = [ActiveTerm("one", 2.0, terms[0].loss), ActiveTerm("other", 0.5, terms[1].loss)]
    total, logs = total_loss(active, Alike([inputs]))
    assert total.item() == pytest.approx((2 * logs["one"] + 0.5 * logs["other"]).item())
    assert {"one", "other"} < logs.keys(), "and the terms' own logs"
    assert not any(value.requires_grad for value in logs.values())


def test_weights_of_pixels_are_the_mean_over_the_terms_that_weigh_them():
    inputs, terms = step_inputs(), build_terms(SPEC)
    label = inputs.label.clone()
    label[0, 0, 0] = IGNORE_INDEX
    plain, mutual = terms
    none = pixel_weights([ActiveTerm("plain", 1.0, plain.loss)], inputs.logits, label, inputs.confidence)
    assert none.equal((label != IGNORE_INDEX).float())
    given = (inputs.logits, label, inputs.confidence)
    both = [
        ActiveTerm("plain", 1.0, plain.loss),
        ActiveTerm("one", 0.5, mutual.loss),
        ActiveTerm("other", 1.5, mutual.loss),
    ]
    torch.testing.assert_close(pixel_weights(both, *given), mutual.loss.pixel_weights(*given))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"supervised": CROSS_ENTROPY | {"weight": 1.0}}, r"loss\.supervised\.weight should be \{start: .*but is 1\.0"),
        ({"supervised": {"name": "cross_entropy"}}, r"loss\.supervised\.weight should be"),
        (
            {"supervised": CROSS_ENTROPY | {"weight": {"begin": 1.0}}},
            r"loss\.supervised\.weight: unknown option 'begin'",
        ),
        ({"supervised": CROSS_ENTROPY | {"weight": {}, "on": "some"}}, r"loss\.supervised\.on should be one of all, "),
        (
            {"supervised": CROSS_ENTROPY | {"weight": {}, "target": "mine"}},
            r"loss\.supervised\.target should be one of",
        ),
        (
            {"supervised": CROSS_ENTROPY | {"weight": {}, "ramp": {"name": "up"}}},
            r"loss\.supervised\.ramp: unknown ramp",
        ),
        ({"gama": 3}, r"loss: unknown option 'gama'"),
        ({"terms": ["supervised"]}, r"loss\.terms should name the loss of each term"),
        ({"name": None}, r"loss\.name should be a name"),
    ],
)
def test_what_is_no_term_is_refused(change, told):
    assert term_faults(SPEC) == []
    (fault,) = term_faults(SPEC | change)
    with pytest.raises(ConfigError, match=told):
        raise ConfigError(fault)


def test_the_sum_is_divided_by_the_weights_of_the_terms_that_there_are_rows_for():
    class Some(Alike):
        def of(self, rows):
            return [] if rows.on == "weak" else super().of(rows)

        def has(self, rows):
            return rows.on != "weak"

    spec = {"name": "mine", "terms": {}, "divide_by_weights": True}
    spec |= {"one": CROSS_ENTROPY | {"weight": {"start": 1.5}}, "two": CROSS_ENTROPY | {"weight": {"start": 0.5}}}
    spec |= {"absent": CROSS_ENTROPY | {"on": "weak", "weight": {"start": 7.0}}}
    active = terms_of_stage(build_terms(spec), "start")
    divided, logs = total_loss(active, Some([step_inputs()]))
    torch.testing.assert_close(divided, logs["one"])
    whole, _ = total_loss(
        terms_of_stage(build_terms(spec | {"divide_by_weights": False}), "start"), Some([step_inputs()])
    )
    torch.testing.assert_close(whole, 2 * divided)
    assert term_faults(spec | {"divide_by_weights": 3}) == ["loss.divide_by_weights should be true or false, but is 3"]


@pytest.mark.parametrize("weight", [-1, -0.5, float("nan"), float("inf"), True])
def test_a_weight_that_is_none_is_told(weight):
    spec = {"name": "x", "terms": {}, "a": {"name": "cross_entropy", "weight": {"start": weight, "rounds": 0.0}}}
    (fault,) = term_faults(spec)
    assert fault.startswith("loss.a.weight.start should be ")
