"""Loggers that draw get the last step of a phase whose teacher labels inside it."""

import numpy as np

import dmtc
from dmtc.engine.context import RunContext
from dmtc.report.panels import Panels
from dmtc.tracking.progress import Progress


def test_panels_are_the_images_of_the_last_step(small, tmp_path):
    more = ["method=fixmatch_ema", "model.backbone.width=4", "schedule.online.steps=2"]
    run = dmtc.train(dmtc.compose([*small, *more]), tmp_path / "run")
    draw = Panels(RunContext(run.components, run.folder, Progress([], "off")))
    (phase,), record = run.plan, run.folder.read_phase("r0-a")
    fixed, worst = draw(phase, record, 2)
    seen = run.look("r0-a")
    assert [panel.id for panel in fixed] == list(seen.unlabelled[:2])
    for row, panel in enumerate(fixed):
        np.testing.assert_array_equal(panel.image, seen.mixed[0, row])
        np.testing.assert_array_equal(panel.pseudo_label, seen.label[0, row])
        np.testing.assert_array_equal(panel.weight, seen.selected[0, row])
        np.testing.assert_array_equal(panel.prediction, seen.prediction[0, row])
    assert [panel.id for panel in worst] == [one["id"] for one in record.pseudo.worst[:2]]
    assert worst[0].truth is not None
