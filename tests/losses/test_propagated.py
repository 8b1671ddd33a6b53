"""CorrMatch's cross-entropy with labels that spread over regions, against its golden step."""

from pathlib import Path

import numpy as np
import pytest
import torch

import dmtc
from dmtc.core.types import IGNORE_INDEX, Batch, Maps, StepInputs
from dmtc.losses import LOSSES, CrossEntropy
from dmtc.losses.terms import build_terms, needs_correlation, terms_of_stage, total_loss

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "corrmatch.npz")


def tensor(key):
    return torch.from_numpy(GOLDEN[f"step_in_{key}"])


@pytest.mark.parametrize("threshold", [85, 55])
def test_golden_step(threshold):
    after, ignored = float(GOLDEN[f"step_t{threshold}_thresh_global"]), {}
    for name in ("", "_mix"):
        confidence, label = tensor(f"logits_u_w{name}").softmax(1).max(1)
        padding = tensor(f"ignore_mask{name}") == IGNORE_INDEX
        ignored[name] = Batch(
            torch.zeros(2, 3, 24, 24, dtype=torch.uint8),
            label.masked_fill(padding, IGNORE_INDEX),
            confidence,
            torch.ones(2, dtype=torch.bool),
            ("", ""),
        )
    bits = torch.from_numpy(np.unpackbits(GOLDEN["step_in_corr_map_bits"], axis=-1)).bool()
    weak = Batch(*[getattr(ignored[""], name) for name in ("image", "label", "confidence", "is_pseudo", "ids")])
    weak = dmtc.core.types.replace(weak, regions=bits)
    mixed = weak.pasted(tensor("cutmix_box1") == 1, ignored["_mix"])
    for name, expected in (("u_s1", "u_s1"), ("u_s1_corr", "u_corr_s")):
        loss = LOSSES.build({"name": "propagated_cross_entropy", "start": after, "momentum": 1.0, "num_regions": 24})
        value = loss(tensor(f"logits_{name}"), mixed.label, mixed.confidence, mixed.regions)
        golden = torch.as_tensor(GOLDEN[f"step_t{threshold}_loss_{expected}"])
        torch.testing.assert_close(value.loss, golden, rtol=1e-5, atol=1e-7)


def test_a_term_takes_the_logits_that_correlation_spreads():
    weight = {"start": 1.0}
    spec = {"name": "mine", "terms": {}, "one": {"name": "cross_entropy", "map": "correlated", "weight": weight}}
    active = terms_of_stage(build_terms(spec), "start")
    assert needs_correlation(active)
    spec = {"backbone": {"name": "tiny", "width": 4}, "name": "linear", "levels": None, "dropout": 0.0}
    spec |= {"embedding_channels": 8, "correlation": {"channels": 16, "dropout": 0.1}}
    model = dmtc.models.build_model(spec, 3, False, 0, correlation=True)
    bare = dmtc.models.build_model(spec, 3, False, 0)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in bare.state_dict().items())
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    maps = model.maps(image, correlation=True)
    assert isinstance(maps, Maps)
    assert model.maps(image).tensors.keys() == {"logits"}
    assert maps.alike.shape[1] == maps.correlated.shape[2] * maps.correlated.shape[3]
    label = torch.zeros(2, 16, 16, dtype=torch.long)
    batch = Batch(image, label, torch.ones(2, 16, 16), torch.zeros(2, dtype=torch.bool), ("a", "b"))
    inputs = StepInputs.of(maps, batch, torch.Generator())

    class Given:
        progress = 0.0

        def of(self, rows):
            return [inputs.correlated() if rows.map == "correlated" else inputs]

        def shares(self, divisors):
            return [1.0] * len(divisors)

    total, _ = total_loss(active, Given())
    torch.testing.assert_close(total, CrossEntropy()(maps.correlated, label).loss)
    total.backward()
    assert model.correlation.first.weight.grad.abs().sum() > 0
    assert model.classifier.weight.grad is None if hasattr(model.classifier, "weight") else True
