"""A step of any finished phase can be looked at: what it showed, and what its labels are with the last weights."""

import dataclasses

import numpy as np
import pytest

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.step import Step

ONLINE = ["model.backbone.width=4", "schedule.online.steps=3", "schedule.limit_steps=3"]


def of_method(small, folder, method: str, *more: str) -> dmtc.Run:
    return dmtc.train(dmtc.compose([*small, *ONLINE, f"method={method}", *more]), folder)


def arrays(seen) -> dict[str, np.ndarray]:
    fields = {field.name: getattr(seen, field.name) for field in dataclasses.fields(seen)}
    return {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}


def test_images_are_those_of_the_step(small, tmp_path, monkeypatch):
    shown: list[dict] = []
    made = Step._views_of
    monkeypatch.setattr(Step, "_views_of", lambda *of: (shown.append(made(*of)), shown[-1])[1])
    run = of_method(small, tmp_path / "run", "fixmatch_ema")
    monkeypatch.undo()
    for step, blocks in enumerate(shown, 1):
        seen = run.look("r0-a", step)
        assert seen.unlabelled == blocks["weak"].ids
        for name, array in (("weak", seen.weak), ("strong 0", seen.mixed[0]), ("labelled", seen.labelled_image)):
            np.testing.assert_array_equal(blocks[name].image.permute(0, 2, 3, 1).numpy(), array)
    assert seen.step == 3
    np.testing.assert_array_equal(shown[-1]["labelled"].label.numpy(), seen.labelled_label)
    again = arrays(run.look("r0-a"))
    for name, array in arrays(seen).items():
        np.testing.assert_array_equal(array, again[name], name)


@pytest.mark.parametrize("method", ["unimatch", "cps_cutmix", "reco", "augseg", "classmix"])
def test_shapes_and_values(small, tmp_path, method):
    run = of_method(small, tmp_path / "run", method)
    last = run.plan[-1]
    seen = run.look(last.name, 1)
    views = 2 if method == "unimatch" else 1
    several = (views, last.pseudo_batch, 32, 32)
    assert seen.strong.shape == seen.mixed.shape == (*several, 3)
    for array in (seen.label, seen.confidence, seen.selected, seen.prediction):
        assert array.shape == several
    assert seen.weak.shape == (last.pseudo_batch, 32, 32, 3)
    assert seen.labelled_label.shape == (last.labelled_batch, 32, 32)
    classes = run.dataset.num_classes
    for array in (seen.label, seen.weak_label, seen.truth, seen.labelled_label):
        assert (array[array != 255] < classes).all()
    assert (seen.prediction < classes).all()
    assert not seen.selected[seen.label == 255].any()
    assert (seen.truth[seen.weak_label == 255] == 255).all(), "padding has neither"


def test_phases_with_stored_labels_and_without_any(finished):
    start, last = finished.look("r0-a", 2), finished.look("r2-b")
    assert (start.phase, start.step, len(start.unlabelled)) == ("r0-a", 2, 0)
    assert start.labelled_image.shape[1:] == (32, 32, 3)
    assert last.unlabelled
    np.testing.assert_array_equal(last.weak, last.mixed[0])
    np.testing.assert_array_equal(last.weak_label, last.label[0])
    assert (last.selected[0][last.weak_label != 255] > 0).any(), "the weights of the dynamic mutual loss"
    assert len(np.unique(last.selected)) > 2


def test_a_supervised_phase_of_a_method_with_strong_views(small, tmp_path):
    run = of_method(small, tmp_path / "run", "st_plus_plus")
    start, last = (run.look(run.plan[place].name) for place in (0, -1))
    assert start.mixed.shape == (1, 0, 32, 32, 3)
    assert start.labelled_image.shape[1:] == (32, 32, 3)
    assert last.unlabelled
    assert not np.array_equal(last.strong[0], last.weak)


def test_truth_is_left_alone_if_it_is_not_to_be_looked_at(small, tmp_path):
    run = of_method(small, tmp_path / "run", "fixmatch_ema", "run.score_pseudo_labels=false")
    assert run.look("r0-a").truth is None


def test_what_cannot_be_looked_at(finished):
    with pytest.raises(ConfigError, match=r"no phase 'r9-a' in this run; it has r0-a, r0-b"):
        finished.look("r9-a")
    with pytest.raises(ConfigError, match=r"step should be from 1 to 2, the length of phase r0-a, but is 0"):
        finished.look("r0-a", 0)
