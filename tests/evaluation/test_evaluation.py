import math

import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.core.types import Batch
from dmtc.engine.phase_log import order_of
from dmtc.evaluation import (
    averaged,
    build_evaluation,
    confusion_counts,
    ensemble,
    evaluate,
    evaluation_faults,
    scores_of,
)
from dmtc.evaluation.predictors import most_probable


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


def test_classes_that_the_data_set_lacks_are_not_counted_in_silence():
    with pytest.raises(ValueError, match="from 4 on"):
        confusion_counts(torch.tensor([0, 1]), torch.tensor([0, 4]), 4)
    assert confusion_counts(torch.tensor([254]), torch.tensor([254]), 255)[254, 254] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("classes", [2, 21])
def test_the_first_of_the_most_probable_classes(dtype, layout, classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 3, (2, classes, 9, 7), generator=generator).to(dtype)
    logits[0, 0, 0], logits[0, :, 1, 1], logits[1, 1, 2] = -torch.inf, torch.nan, torch.inf
    expected = logits.argmax(dim=1)
    with torch.inference_mode():
        found = most_probable(logits.contiguous(memory_format=layout))
    assert found.dtype == torch.int64
    assert found.equal(expected)


def test_iou_by_hand():
    scores = scores_of(torch.tensor([[3, 1], [2, 4]]), "left_out", ["accuracy"])
    assert scores.iou == pytest.approx((3 / 6, 4 / 7))
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores.overall == {"accuracy": pytest.approx(0.7)}


def test_a_class_in_neither_truth_nor_prediction_is_left_out_of_the_mean():
    scores = scores_of(torch.tensor([[3, 0, 1], [0, 0, 0], [0, 0, 4]]), "left_out")
    assert scores.iou[1] is None
    assert scores.miou == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_a_class_predicted_but_never_true_counts_as_zero():
    assert scores_of(torch.tensor([[3, 1], [0, 0]]), "left_out").iou[1] == 0


@pytest.mark.parametrize(("absent", "mean"), [("left_out", (3 / 4 + 4 / 5) / 2), ("zero", (3 / 4 + 4 / 5) / 3)])
def test_rules_for_absent_classes(absent, mean):
    scores = scores_of(torch.tensor([[3, 0, 1], [0, 0, 0], [0, 0, 4]]), absent)
    assert scores.miou == pytest.approx(mean)
    assert scores.iou[1] is None


def test_an_absent_class_makes_the_mean_nan_on_demand():
    assert math.isnan(scores_of(torch.tensor([[3, 0, 1], [0, 0, 0], [0, 0, 4]]), "undefined").miou)
    assert max([math.nan, 0.2, 0.1], key=order_of) == 0.2, "and is never the best"
    counts = torch.tensor([[3, 1], [2, 4]])
    assert scores_of(counts, "undefined") == scores_of(counts, "left_out") == scores_of(counts, "zero")


ORIGINAL = {"name": "original", "flip": False, "scales": [1.0], "absent": "left_out", "metrics": ["accuracy"]}


def test_iou_is_of_the_whole_set_and_not_a_mean_over_images():
    small = Batch(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 1]]]), torch.ones(1, 1, 2), torch.zeros(1), ("x",))
    large = Batch(torch.zeros(1, 3, 1, 6), torch.zeros(1, 1, 6).long(), torch.ones(1, 1, 6), torch.zeros(1), ("y",))

    def always_zero(images):
        return torch.stack([torch.ones(images.shape[0], *images.shape[2:]), torch.zeros(1, *images.shape[2:])], 1)

    scores = evaluate({"a": always_zero}, [small, large], 2, build_evaluation(ORIGINAL, "evaluation"))
    assert scores["a"].iou == (7 / 8, 0)
    assert scores["a"].overall["accuracy"] == 7 / 8


def test_one_pass_scores_all_networks_and_their_ensemble():
    truth = torch.tensor([[[0, 1, 1, 0]]])
    batch = Batch(torch.zeros(1, 3, 1, 4, dtype=torch.uint8), truth, torch.ones(1, 1, 4), torch.zeros(1), ("x",))
    calls = []

    def network(letter, logits_of_one):
        def predict(images):
            calls.append(letter)
            return torch.stack([torch.zeros(1, 1, 4), torch.tensor([[logits_of_one]])], 1)

        return predict

    # Where the two disagree the surer one prevails: a at pixel 1, b at pixel 2.
    networks = {"a": network("a", [-1.0, 5.0, -1.0, -1.0]), "b": network("b", [-1.0, -1.0, 5.0, -1.0])}
    scores = evaluate(networks, [batch, batch], 2, build_evaluation(ORIGINAL, "evaluation"))
    assert {name: score.overall["accuracy"] for name, score in scores.items()} == {"a": 0.75, "b": 0.75, "a+b": 1.0}
    assert list(scores)[-1] == "a+b"
    assert calls == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "paded"}, "Did you mean 'padded'?"),
        ({"flip": "yes"}, "evaluation.flip should be bool"),
        ({"scales": []}, "evaluation.scales should be factors above 0"),
        ({"scales": [0]}, "evaluation.scales should be factors above 0"),
        ({"absent": "skip"}, "evaluation.absent should be"),
        ({"size": 3}, "evaluation: unknown option 'size'"),
        ({"name": "padded", "size": [505]}, "evaluation.size should be a positive height and width"),
        ({"name": "center_crop", "size": [0, 5]}, "evaluation.size should be a positive height and width"),
        ({"name": "sliding", "crop": [8, 8], "ragged": False}, "evaluation: missing option 'stride'"),
        ({"name": "sliding", "crop": [8, 8], "stride": 1.5, "ragged": False}, "evaluation.stride should be a share in"),
        ({"name": "multiple", "of": 0}, "evaluation.of should be at least 1"),
        ({"name": "short_edge", "size": 0}, "evaluation.size should be at least 1"),
        ({"name": "resized", "factor": 0.0}, "evaluation.factor should be above 0"),
    ],
)
def test_faults(changes, message):
    faults = evaluation_faults(ORIGINAL | changes, "evaluation")
    assert len(faults) == 1
    assert message in faults[0]
    with pytest.raises(ConfigError, match="evaluation"):
        build_evaluation(ORIGINAL | changes, "evaluation")


def test_ensemble_averages_probabilities_and_not_logits():
    sure = torch.tensor([[[[8.0]], [[0.0]]]])
    unsure = torch.tensor([[[[0.0]], [[1.0]]]])
    mean = ensemble([lambda x: sure, lambda x: unsure])(torch.zeros(1))
    expected = (sure.softmax(1) + unsure.softmax(1)) / 2
    assert mean.softmax(1).allclose(expected, atol=1e-6)


def test_averages_stay_finite_where_every_probability_is_zero():
    mean = averaged([torch.tensor([[[[500.0]], [[0.0]]]])] * 2)
    assert mean.isfinite().all()
    assert mean.argmax(1).item() == 0
