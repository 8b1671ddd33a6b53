"""The reliability of images by the agreement of checkpoints, against figures of ST++."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from dmtc.pseudo.reliability import agreement, by_reliability, image_reliability

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "stpp_reliability.npz")
PREDICTIONS = torch.from_numpy(GOLDEN["predictions"])
CLASSES = int(GOLDEN["num_classes"])
IDS = [f"image {index:02}" for index in range(PREDICTIONS.shape[1])]


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_reliability_and_order_are_those_of_stpp(batch):
    """Networks that give the recorded predictions; the batch does not matter."""
    shown = torch.arange(len(IDS), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 24, 24)
    checkpoints = [
        lambda images, own=own: one_hot(own[images[:, 0, 0, 0].long()].long(), CLASSES).movedim(-1, 1).float()
        for own in PREDICTIONS
    ]
    batches = [(IDS[start : start + batch], shown[start : start + batch]) for start in range(0, len(IDS), batch)]
    advanced = []
    found = image_reliability(checkpoints, batches, CLASSES, advanced.append)
    assert list(found) == IDS
    assert sum(advanced) == len(IDS)
    assert list(found.values()) == pytest.approx(GOLDEN["reliability"].tolist(), abs=1e-9)
    order = by_reliability(found)
    assert order == [IDS[index] for index in GOLDEN["order"]]
    assert order[: len(order) // 2] == [IDS[index] for index in GOLDEN["reliable"]]


def test_agreement_by_counting():
    """Any number of checkpoints; a class that neither prediction holds does not count."""
    rng = np.random.default_rng(0)
    predictions = rng.integers(0, 4, (4, 3, 5, 6))
    predictions[:, 0] %= 2
    expected = [
        np.mean(
            [
                np.mean(
                    [
                        ((own == label) & (last == label)).sum() / ((own == label) | (last == label)).sum()
                        for label in np.union1d(own, last)
                    ]
                )
                for own in predictions[:-1, image]
            ]
        )
        for image, last in enumerate(predictions[-1])
    ]
    assert agreement(torch.from_numpy(predictions), 9).tolist() == pytest.approx(expected, abs=1e-12)


def test_checkpoints_that_agree_are_wholly_reliable():
    same = PREDICTIONS[:1].expand(3, -1, -1, -1)
    assert agreement(same, CLASSES).tolist() == [1.0] * len(IDS)
