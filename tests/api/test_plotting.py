"""Figures of a run for notebooks, drawn without pyplot."""

import re
import shutil

import pytest

import dmtc
from dmtc.core.errors import ConfigError, DataError

FIGURES = {
    "curves": {},
    "classes": {},
    "labels": {},
    "calibration": {},
    "pictures": {"count": 2},
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
