"""Figures of a run for notebooks, drawn without pyplot."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

import dmtc
from dmtc.core.errors import ConfigError, DataError

FIGURES = {
    "curves": {},
    "classes": {},
    "labels": {},
    "calibration": {},
    "pictures": {"count": 2},
    "pseudo_labels": {"phase": "r1-b", "count": 2, "label_ratio": 0.4},
    "selection": {"label_ratio": 0.4},
    "precision": {"phase": "r2-a"},
    "opinions": {"count": 2},
    "changes": {"count": 2},
    "laboratory": {"phase": "r2-b", "label_ratio": 0.3},
    "step": {"phase": "r1-a", "step": 1},
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_cell_shows_each(finished, name):
    figure = getattr(finished.plot, name)(**FIGURES[name])
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert any(axes.has_data() for axes in figure.axes)


def titles(figure) -> list[str]:
    return [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes]


def test_figures_say_what_they_show(finished):
    assert titles(finished.plot.curves())[:2] == ["mIoU over rounds, %", "loss"]
    assert len(finished.plot.curves(every=True).axes) > 4
    assert [title.partition(":")[0] for title in titles(finished.plot.pictures(1))] == [
        "image", "truth", "prediction", "errors at the end",
    ]  # fmt: skip
    image = finished.split.unlabelled[3]
    laboratory = titles(finished.plot.laboratory("r1-a", image))
    assert laboratory == titles(finished.plot.laboratory(image=list(finished.pseudo_labels("r1-a").ids).index(image)))
    assert laboratory[0] == image
    kept = float((finished.pseudo_labels("r1-a").of(image).label != 255).mean())
    assert laboratory[1] == f"kept: {kept:.0%}"


def test_what_there_is_not_is_told(finished):
    with pytest.raises(ConfigError, match="no pseudo-labels for phase 'r0-a'"):
        finished.plot.laboratory("r0-a")
    with pytest.raises(DataError, match="no unlabelled image 'nobody'; there are"):
        finished.plot.laboratory("r1-a", "nobody")
    with pytest.raises(ConfigError, match="count should be at least 1"):
        finished.plot.pictures(0)


def test_a_run_shows_itself(finished, tmp_path):
    html = finished._repr_html_()
    assert html.count("<tr>") == 1 + len(finished.plan)
    assert re.search(r'<img alt="curves" src="data:image/png;base64,iVBOR', html)
    shutil.copytree(finished.folder.path, tmp_path / "a<b")
    shutil.rmtree(tmp_path / "a<b" / "phases")
    (tmp_path / "a<b" / "metrics.jsonl").write_text("")
    begun = dmtc.Run.load(tmp_path / "a<b")
    assert "a&lt;b" in begun._repr_html_()
    assert "<img" not in begun._repr_html_()
    with pytest.raises(DataError, match="nothing is logged yet"):
        begun.plot.curves()
    with pytest.raises(DataError, match="no phase is done"):
        begun.plot.classes()
    with pytest.raises(DataError, match="no phase with pseudo-labels is done"):
        begun.plot.labels()


def test_the_worst_pseudo_labels_come_first(finished):
    worst = [image.id for image in finished.pseudo_label_quality("r1-a").worst(2)]
    shown = titles(finished.plot.pseudo_labels("r1-a", 2))
    assert [title for title in shown if title.startswith("train_")] == worst
    assert "truth" in shown


def test_without_truth_figures_show_what_is_known(finished, monkeypatch):
    run = dmtc.Run(finished.folder, finished.components)
    known = {id: finished.dataset.masks[id] for id in finished.dataset.val}
    monkeypatch.setattr(dmtc.Run, "dataset", dataclasses.replace(finished.dataset, masks=known))
    shown = titles(run.plot.pseudo_labels(count=3))
    assert [title for title in shown if title.startswith("train_")] == [
        run.pseudo_labels("r1-a").ids[place * len(run.split.unlabelled) // 3] for place in range(3)
    ]
    assert "truth" not in shown
    assert titles(run.plot.changes(count=1))[-1].startswith("blue: changed")
    assert len(run.plot.selection().axes) == 2
    for figure in (run.plot.precision, run.plot.opinions):
        with pytest.raises(DataError, match="whose truth is known"):
            figure()


def test_changes_are_counted_where_truth_is_known(finished):
    with pytest.raises(
        ConfigError, match="no labels of a round before phase 'r1-a'; phases with such labels: r2-a, r2-b"
    ):
        finished.plot.changes("r1-a")
    id = finished.pseudo_label_quality("r2-a").worst(1)[0].id
    old, new = (finished.pseudo_labels(phase, 1.0).of(id) for phase in ("r1-a", "r2-a"))
    known = new.truth != 255
    fixed = ((old.label != new.label) & known & (new.label == new.truth)).sum() / known.sum()
    assert f"green: fixed {fixed:.0%}" in titles(finished.plot.changes("r2-a", 1))[-1]


def test_bars_of_a_selection_are_those_of_the_quality(finished):
    selection = finished.pseudo_label_quality("r1-a").at(0.4)
    axes = finished.plot.selection("r1-a", 0.4).axes
    for one, values in zip(axes, (selection.realized, selection.thresholds), strict=False):
        assert [bar.get_width() for bar in one.patches] == pytest.approx(np.nan_to_num(values).tolist())
