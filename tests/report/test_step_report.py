"""The report of a run whose teacher labels within the step: curves over the steps, and a step in pictures."""

import numpy as np
import pytest

import dmtc
from dmtc.report.pictures import color_table
from dmtc.report.runs.run_data import read_run
from dmtc.report.runs.step_charts import step_charts
from dmtc.report.runs.step_views import rows_of


@pytest.fixture(scope="module")
def taught(small, tmp_path_factory) -> dmtc.Run:
    more = ["model.backbone.width=4", "schedule.online.steps=4", "schedule.online.evaluations=2", "run.log_every=2"]
    more += [
        "schedule.limit_steps=4",
        "run.report=true",
        "method=fixmatch_ema",
        "loss.unlabelled.selection.threshold=0.2",
    ]
    return dmtc.train(dmtc.compose([*small, *more]), tmp_path_factory.mktemp("taught") / "run")


def test_curves_over_the_steps(taught):
    charts = {chart.title: chart for chart in step_charts(read_run(taught.components, taught.folder))}
    assert list(charts) == [
        "pixels selected in training, %",
        "pixels selected in whole images, %",
        "selected pixels whose label is right, %",
        "mIoU of the labels of selected pixels, %",
        "mIoU of the average and of the student, %",
    ]
    assert "average" in charts["mIoU of the average and of the student, %"].svg()


def test_runs_without_a_teacher_in_the_step_have_none(finished):
    assert step_charts(read_run(finished.components, finished.folder)) == []


def test_the_page_has_them_and_a_step_in_pictures(taught):
    page = (taught.folder.path / "report.html").read_text()
    for part in (
        "<h2>Labels within the step</h2>",
        "<h2>A step</h2>",
        "of step 4 of r0-a",
        "pixels selected in training, %",
    ):
        assert part in page
    assert len(list((taught.folder.path / "pictures").glob("step_4_of_r0-a*.png"))) == 2
    assert (taught.folder.path / "report" / "steps.png").is_file()


def test_rows_of_a_step(taught):
    seen = taught.look("r0-a")
    palette = color_table(taught.dataset)
    rows = rows_of(seen, palette)
    titles = [panel.title.partition(":")[0] for panel in rows[0].panels]
    assert titles[:2] == ["weak view", "truth"]
    assert titles[-4:] == ["label", "confidence", "selected", "student's prediction"]
    place = seen.unlabelled.index(rows[0].id)
    panels = dict(zip(titles, rows[0].panels, strict=True))
    np.testing.assert_array_equal(panels["label"].picture, palette[seen.label[0, place]])
    learned = seen.selected[0, place] == seen.selected[0, place].max()
    np.testing.assert_array_equal(panels["selected"].picture[learned], seen.mixed[0, place][learned])


def test_rounds_show_a_step_too(finished):
    rows = rows_of(finished.look("r2-a"), color_table(finished.dataset))
    assert rows[0].panels[0].title == "weak view"
    assert "mixed" not in [panel.title for panel in rows[0].panels]
