"""Metrics that see every image: by hand, and shared among processes."""

import math

import pytest
import torch

from dmtc.core.types import Batch
from dmtc.evaluation import METRICS, build_evaluation, evaluate
from dmtc.machine.processes import ALONE

SQUARE = torch.zeros(1, 12, 12, dtype=torch.int64)
SQUARE[:, 4:8, 4:8] = 1
"""A square of class 1; its boundary is 12 pixels, that of class 0 around it 16."""


def shifted(by: int) -> torch.Tensor:
    return SQUARE.roll(by, dims=2)


def boundary_f1(prediction, truth, tolerance, unit="pixels", num_classes=2):
    spec = {"name": "boundary_f1", "tolerance": tolerance, "unit": unit}
    metric = METRICS.build(spec, num_classes=num_classes, absent="left_out")
    metric.update(prediction, truth)
    return metric.value(metric.state())


def test_mean_iou_over_images():
    metric = METRICS.build({"name": "image_miou"}, num_classes=3)
    truth = torch.tensor([[[0, 0, 1, 255]], [[0, 0, 0, 0]], [[255] * 4]])
    metric.update(torch.tensor([[[0, 1, 1, 2]], [[0, 0, 0, 2]], [[1, 1, 1, 1]]]), truth)
    first, second = (1 / 2 + 1 / 2) / 2, (3 / 4 + 0) / 2
    assert metric.value(metric.state()).overall == pytest.approx((first + second) / 2)
    nothing = METRICS.build({"name": "image_miou"}, num_classes=3)
    assert math.isnan(nothing.value(nothing.state()).overall)


def test_a_boundary_within_the_tolerance_is_found():
    assert boundary_f1(SQUARE, SQUARE, 0).per_class == (1, 1)
    # Moved by two pixels, the left and right sides are two pixels off, and a part of the others stays where it was.
    near = boundary_f1(shifted(2), SQUARE, 1).per_class
    assert all(0 < score < 1 for score in near)
    assert boundary_f1(shifted(2), SQUARE, 2).per_class == (1, 1)


def test_scores_of_boundaries_by_hand():
    """Moved by one pixel, 6 of the 12 boundary pixels of class 1 are boundary in both."""
    value = boundary_f1(shifted(1), SQUARE, 0)
    assert value.per_class[1] == pytest.approx(6 / 12)
    assert value.overall == pytest.approx(sum(value.per_class) / 2)
    assert value.note == "within 0 pixels"


def test_distances_are_those_of_a_circle():
    """The corner of a square moved diagonally by one is the square root of two away."""
    moved = SQUARE.roll((3, 3), dims=(1, 2))
    assert boundary_f1(moved, SQUARE, 4.2).overall < 1
    assert boundary_f1(moved, SQUARE, 4.3).overall == 1


def test_the_tolerance_as_a_share_of_the_diagonal():
    diagonal = math.hypot(12, 12)
    value = boundary_f1(shifted(2), SQUARE, 2 / diagonal, "diagonal")
    assert value.per_class == (1, 1)
    assert value.note == f"within {200 / diagonal:g} % of the diagonal"
    assert boundary_f1(shifted(2), SQUARE, 1.9 / diagonal, "diagonal").overall < 1


def test_pixels_without_truth_make_no_boundary():
    truth = SQUARE.where(SQUARE == 0, 255)
    value = boundary_f1(torch.zeros_like(truth), truth, 0)
    assert value.per_class == (None, None)
    assert math.isnan(value.overall)


def test_a_class_that_is_missed_or_invented_scores_zero():
    assert boundary_f1(torch.zeros_like(SQUARE), SQUARE, 3).per_class == (0, 0)
    assert boundary_f1(SQUARE, torch.zeros_like(SQUARE), 3).per_class == (0, 0)


class Second:
    """The second of two processes, the first of which has counted `others` already."""

    def __init__(self, others):
        self.others = others

    def all_reduce(self, tensor):
        return tensor.add_(self.others.pop(0))


class Noting:
    """A process that notes what it adds to those of the others."""

    def __init__(self):
        self.noted = []

    def all_reduce(self, tensor):
        self.noted.append(tensor.clone())
        return tensor


def test_processes_that_share_the_images_agree_with_one():
    generator = torch.Generator().manual_seed(0)
    spec = {"name": "original", "flip": False, "scales": [1.0], "absent": "left_out"}
    spec |= {"metrics": ["image_miou", "accuracy", "boundary_f1"]}
    spec |= {"metric_options": {"boundary_f1": {"tolerance": 1.0, "unit": "pixels"}}}
    batches = []
    for number in range(6):
        image, truth = (torch.randint(0, high, (1, n, 9, 8), generator=generator) for high, n in ((256, 3), (3, 1)))
        batches.append(Batch(image.float(), truth[:, 0], torch.ones(1, 9, 8), torch.zeros(1), (str(number),)))

    def score(part, processes):
        return evaluate({"a": lambda image: image}, part, 3, build_evaluation(spec, "evaluation"), processes)

    whole, first = score(batches, ALONE), Noting()
    score(batches[1::2], first)
    assert score(batches[::2], Second(first.noted)) == whole
    assert len(whole["a"].metrics) == 3
