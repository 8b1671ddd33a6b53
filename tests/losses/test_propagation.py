"""Labels that spread over regions: golden, against a loop over single regions, and regions with nothing in them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.types import IGNORE_INDEX
from dmtc.losses.propagation import propagated

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "corrmatch.npz")


def step(threshold):
    """The mixed labels and confidences of the golden step, its regions, and its threshold."""
    weak, other = (torch.from_numpy(GOLDEN[f"step_in_logits_u_{name}"]).softmax(1).max(1) for name in ("w", "w_mix"))
    pasted = torch.from_numpy(GOLDEN["step_in_cutmix_box1"]) == 1
    ignored = torch.from_numpy(np.where(pasted, GOLDEN["step_in_ignore_mask_mix"], GOLDEN["step_in_ignore_mask"]))
    confidence, label = (theirs.where(pasted, own) for theirs, own in zip(other, weak, strict=True))
    regions = torch.from_numpy(np.unpackbits(GOLDEN["step_in_corr_map_bits"], axis=-1)).bool()
    after = GOLDEN[f"step_t{threshold}_thresh_global"].item()
    valid = ignored != IGNORE_INDEX
    return label, confidence >= after, regions & ~pasted[:, None], after, valid


@pytest.mark.parametrize("threshold", [85, 55])
def test_golden_labels(threshold):
    label, confident, regions, after, valid = step(threshold)
    new, reached = propagated(label.where(valid, IGNORE_INDEX), confident, regions, after, 7)
    assert torch.equal(new[valid], torch.from_numpy(GOLDEN[f"step_t{threshold}_label"]).long()[valid])
    assert torch.equal(reached, torch.from_numpy(GOLDEN[f"step_t{threshold}_mask"]))
    assert (new[~valid] == IGNORE_INDEX).all()
    assert threshold == 85 or (new != label)[valid].any()


def test_regions_that_are_empty_ignored_or_not_confident_change_nothing():
    label, confident, regions, after, _ = step(55)
    for given in (
        (label, confident, regions & False),
        (torch.full_like(label, IGNORE_INDEX), confident, regions),
        (label, confident & False, regions),
        (label, confident, regions[:, :0]),
    ):
        for threshold in (after, 0.0):
            new, reached = propagated(*given, threshold, 7)
            assert torch.equal(new, given[0])
            assert torch.equal(reached, given[1] & (given[0] != IGNORE_INDEX))


def test_an_image_is_as_it_would_be_alone():
    label, confident, regions, after, _ = step(55)
    together = propagated(label, confident, regions, torch.tensor(after), 7)
    for row in (0, 1):
        one = slice(row, row + 1)
        alone = propagated(label[one], confident[one], regions[one], after, 7)
        assert all(torch.equal(each[one], other) for each, other in zip(together, alone, strict=True))
