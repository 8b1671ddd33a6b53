"""What a person sees: bars, lines or nothing; standard output is for results alone."""

import logging
import re

import nbformat
import pytest
from nbclient import NotebookClient

from dmtc.schedule import Phase
from dmtc.tracking import progress as module
from dmtc.tracking.progress import Progress, show_messages

PHASE = Phase("r0-a", "start", "a", None, None, None, 8, 0.1, 4, 0, 1)
ROUND = Phase("r1-a", "rounds", "a", "r0-a", "r0-a", 0.2, 40, 0.1, 4, 4, 1)
VALUES = {"loss": 1.5, "learning_rate": 0.1, "images_per_s": 20.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved: `clock(3)` lets three seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def shown(display, capsys, seconds=0.0, clock=lambda seconds: None) -> str:
    progress = Progress([PHASE], display)
    progress.begin("r0-a training", 8, "step")
    for step in range(1, 9):
        clock(seconds)
        progress.advance(1, phases=1)
        if step % 4 == 0:
            progress.show(PHASE, step, VALUES)
    progress.end()
    progress.say("r0-a: mIoU 0.5")
    progress.close()
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_lines_are_few_and_say_how_long_it_will_take(capsys, clock):
    values = "loss 1.500  rate 1.0e-01  20 images/s"
    assert shown("lines", capsys, 10.0, clock).splitlines() == [
        f"r0-a training  4/8 steps  {values}  00:40 left, plan 00:40 left",
        f"r0-a training  8/8 steps  {values}  plan 00:00 left",
        "r0-a: mIoU 0.5",
    ]
    assert len(shown("lines", capsys, 1.0, clock).splitlines()) == 2, "a short phase has its last step alone"


def test_the_share_of_pixels_that_is_selected_is_shown(capsys):
    progress = Progress([PHASE], "lines")
    progress.begin("r0-a training", 8, "step")
    progress.show(PHASE, 8, {**VALUES, "unlabelled/kept": 0.25, "perturbed/kept": 0.75})
    assert "loss 1.500  50% kept  rate 1.0e-01" in capsys.readouterr().err


def test_bars_fit_into_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = shown("bars", capsys)
    for part in ("plan", "100%", "8/8 steps", "r0-a training", "left, loss 1.500, 20 images/s", "r0-a: mIoU 0.5"):
        assert part in text
    pictures = [re.sub(r"\x1b\[A", "", picture) for picture in re.split(r"[\r\n]", text)]
    assert max(map(len, pictures)) <= 80


def test_off(capsys):
    assert shown("off", capsys) == ""


def test_warnings_are_shown_where_nothing_else_is(capsys):
    for display in ("off", "lines", "bars"):
        Progress([PHASE], display).warn("mIoU fell")
        assert capsys.readouterr().err == "WARNING: mIoU fell\n"


def test_auto_is_lines_where_there_is_no_terminal(capsys):
    assert shown("auto", capsys).startswith("r0-a training  8/8 steps")


def test_nothing_is_drawn_before_there_is_something_to_show(capsys):
    Progress([PHASE], "bars").close()
    assert capsys.readouterr().err == ""


def test_long_passes_without_training_give_lines_too(capsys, clock):
    progress = Progress([], "lines")
    progress.begin("r0-a labelling", 100, "image")
    for _ in range(10):
        clock(10)
        progress.advance(10)
    progress.end()
    assert capsys.readouterr().err.splitlines() == [
        "r0-a labelling  30/100 images  01:10 left",
        "r0-a labelling  60/100 images  00:40 left",
        "r0-a labelling  90/100 images  00:10 left",
    ]


def test_parts_may_be_nested(capsys, clock):
    progress = Progress([PHASE], "lines")
    progress.begin("r0-a training", 8, "step")
    progress.begin("r0-a scoring", 3, "image")
    progress.advance(3)
    progress.end()
    clock(30)
    progress.advance(4, phases=1)
    progress.show(PHASE, 4, VALUES)
    progress.close()
    assert capsys.readouterr().err.endswith("00:30 left, plan 00:30 left\n")


def time_left_of_plan(progress: Progress, phase: Phase, step: int, capsys) -> str:
    progress.show(phase, step, VALUES)
    return capsys.readouterr().err.rpartition("plan ")[2].removesuffix(" left\n")


def test_each_stage_has_its_own_pace(capsys, clock):
    progress = Progress([PHASE, ROUND, ROUND], "lines")
    clock(1000)  # a logger that waits for its server
    progress.begin("r0-a training", 8, "step")
    assert time_left_of_plan(progress, PHASE, 8, capsys) == "?"
    clock(80)
    progress.advance(8, phases=1)
    assert time_left_of_plan(progress, PHASE, 8, capsys) == "13:20", "80 steps of which nothing is known yet: 10 s each"
    clock(20)
    progress.advance(20, phases=1)
    assert time_left_of_plan(progress, ROUND, 40, capsys) == "01:00", "60 steps of a second"


def test_what_an_earlier_run_has_done_says_nothing_about_the_speed(capsys, clock):
    progress = Progress([PHASE, ROUND], "lines")
    progress.skip(PHASE.steps)
    progress.begin("r1-a training", 40, "step", done=30)
    progress.skip(30)
    clock(40)
    progress.advance(4, phases=1)
    progress.show(ROUND, 34, VALUES)
    assert capsys.readouterr().err.endswith("01:00 left, plan 01:00 left\n")


@pytest.mark.parametrize(
    ("display", "expected"), [("lines", "found 2\nWARNING: lost 1\n"), ("off", "WARNING: lost 1\n")]
)
def test_what_the_library_logs_is_shown_once(capsys, display, expected):
    logger = logging.getLogger("dmtc")
    level, handlers = logger.level, list(logger.handlers)
    try:
        show_messages(display)
        show_messages(display)  # a sweep has many jobs in one process
        logging.getLogger("dmtc.data").info("found %d", 2)
        logging.getLogger("dmtc.data").warning("lost %d", 1)
    finally:
        logger.level, logger.handlers = level, handlers
    assert capsys.readouterr().err == expected


@pytest.mark.slow
def test_a_notebook_has_bars():
    """Of widgets, as `tqdm.auto` chooses them in a kernel."""
    cell = """
from dmtc.tracking.progress import Progress
progress = Progress([], "auto")
progress.begin("scoring", 4, "image")
progress.advance(4)
progress.end()
progress.close()
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    kinds = [set(output.get("data", {})) for output in notebook.cells[0].outputs]
    assert any("application/vnd.jupyter.widget-view+json" in kind for kind in kinds), notebook.cells[0].outputs
