"""Whatever is taken from a run has the weights that were scored: the average, or the student's, as the teacher says."""

import pytest
import torch

import dmtc
from dmtc.evaluation import confusion_counts, scores_of
from dmtc.export.card import model_card
from dmtc.export.exporting import segmenter_of

SHORT = ["method=fixmatch_ema", "model.backbone.width=4", "schedule.online.steps=6", "schedule.limit_steps=6"]


def miou_of(predict, dataset) -> float:
    counts = torch.zeros(dataset.num_classes, dataset.num_classes, dtype=torch.int64)
    for id in dataset.val:
        predicted, truth = (torch.from_numpy(of).long() for of in (predict(dataset.image(id)), dataset.mask(id)))
        counts += confusion_counts(predicted, truth, dataset.num_classes)
    return scores_of(counts, absent="left_out").miou


@pytest.mark.parametrize("score", ["average", "student"])
def test_predictions_and_exports_are_those_of_the_scored_weights(small, tmp_path, command, score):
    settings = [*small, *SHORT, "teacher.decay=0.9", "schedule.online.learning_rate=0.1", f"teacher.score={score}"]
    run = dmtc.train(dmtc.compose(settings), tmp_path / "run")
    (phase,) = run.results["phases"]
    assert phase["miou_last"] == phase["miou_of"][score]
    assert phase["miou_of"]["average"] != phase["miou_of"]["student"]
    segmenter = segmenter_of(run, None, "last")
    for predict in (run.predict, segmenter.predict):
        assert miou_of(predict, run.dataset) == pytest.approx(phase["miou_last"], abs=1e-6)
    code, out, err = command("job=evaluate", f"run={run.folder.path}", small_run=False)
    assert code == 0, err
    assert f"{100 * phase['miou_last']:.1f}" in out
    assert segmenter.description["averaged"] is (score == "average")
    said = "moving average over the steps" in model_card(segmenter.description, "safetensors")
    assert said is (score == "average")


def test_without_an_average_nothing_is_said_of_it(finished):
    assert segmenter_of(finished, "a", "last").description["averaged"] is False
