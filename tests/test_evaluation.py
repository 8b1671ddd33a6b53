import pytest
import torch

from dmtc.evaluation import confusion_counts, ensemble, evaluate, scores_of
from dmtc.types import Batch


def test_counts_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (3, 9, 7), generator=generator)
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = 255
    prediction = torch.randint(0, 4, truth.shape, generator=generator)
    expected = torch.zeros(4, 4, dtype=torch.int64)
    for t, p in zip(truth.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if t != 255:
            expected[t, p] += 1
    assert confusion_counts(prediction, truth, 4).equal(expected)


def test_iou_by_hand():
    scores = scores_of(torch.tensor([[3, 1], [2, 4]]))
    assert scores.iou == pytest.approx((3 / 6, 4 / 7))
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores.accuracy == pytest.approx(0.7)


def test_a_class_in_neither_truth_nor_prediction_is_left_out_of_the_mean():
    scores = scores_of(torch.tensor([[3, 0, 1], [0, 0, 0], [0, 0, 4]]))
    assert scores.iou[1] is None
    assert scores.miou == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_a_class_predicted_but_never_true_counts_as_zero():
    assert scores_of(torch.tensor([[3, 1], [0, 0]])).iou[1] == 0


def test_iou_is_of_the_whole_set_and_not_a_mean_over_images():
    small = Batch(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 1]]]), torch.ones(1, 1, 2), torch.zeros(1), ("x",))
    large = Batch(torch.zeros(1, 3, 1, 6), torch.zeros(1, 1, 6).long(), torch.ones(1, 1, 6), torch.zeros(1), ("y",))

    def always_zero(images):
        return torch.stack([torch.ones(images.shape[0], *images.shape[2:]), torch.zeros(1, *images.shape[2:])], 1)

    counts = evaluate(always_zero, [small, large], 2)
    assert counts.tolist() == [[7, 0], [1, 0]]


def test_ensemble_averages_probabilities_and_not_logits():
    sure = torch.tensor([[[[8.0]], [[0.0]]]])
    unsure = torch.tensor([[[[0.0]], [[1.0]]]])
    mean = ensemble([lambda x: sure, lambda x: unsure])(torch.zeros(1))
    expected = (sure.softmax(1) + unsure.softmax(1)) / 2
    assert mean.softmax(1).allclose(expected, atol=1e-6)
