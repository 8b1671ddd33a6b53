import csv
import json

import pytest

import dmtc
from dmtc.errors import ConfigError
from dmtc.progress import Progress
from dmtc.schedule import Phase
from dmtc.tracking import LOGGERS, CsvLogger, JsonLines, Metrics

PHASE = Phase("r0-a", "start", "a", None, None, None, 8, 0.1, 4, 0, 1)
VALUES = {"loss": 1.5, "learning_rate": 0.1, "images_per_s": 20.0}


def test_json_lines_are_there_at_once_and_go_on_after_a_stop(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(path)
    first.log({"phase": "r0-a", "step": 1, "loss": 0.5})
    assert json.loads(path.read_text())["loss"] == 0.5
    first.close()
    second = JsonLines(path)
    second.log({"phase": "r0-a", "step": 2, "loss": 0.4})
    second.finish({})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_csv_gets_every_column_and_what_a_killed_run_had_logged(tmp_path):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.log({"step": 1, "loss": 0.5})  # by a run that never came to write its table
    logger = CsvLogger(folder=tmp_path)
    lines.log({"step": 2, "miou": 0.25})
    logger.log({"step": 2, "miou": 0.25})
    logger.finish({})
    lines.close()
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"step": "1", "loss": "0.5", "miou": ""},
            {"step": "2", "loss": "", "miou": "0.25"},
        ]


class Remembering:
    def __init__(self):
        self.records = []

    def log(self, record):
        self.records.append(record["step"])

    def finish(self, results):
        self.records.append("finished")

    def close(self):
        self.records.append("closed")


def test_what_a_resumed_run_logs_again_is_neither_written_nor_sent_twice(tmp_path):
    path, logger = tmp_path / "metrics.jsonl", Remembering()
    first = Metrics(path, {"mine": lambda: logger}, pytest.fail)
    first.begin("r0-a", 0)
    for step in (1, 2, 3):
        first.log({"phase": "r0-a", "step": step, "loss": 0.5})
    first.log({"phase": "r0-b", "step": 1, "loss": 0.5})
    first.close()
    path.write_text(path.read_text() + '{"phase": "r0-a", "st')  # cut off

    second = Metrics(path, {"mine": lambda: logger}, pytest.fail)
    second.begin("r0-a", 1)
    assert second.count("r0-a") == 1
    for step in (2, 3, 4):
        second.log({"phase": "r0-a", "step": step, "loss": 0.5})
    second.finish({})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(record["phase"], record["step"]) for record in records] == [
        ("r0-a", 1),
        ("r0-b", 1),
        ("r0-a", 2),
        ("r0-a", 3),
        ("r0-a", 4),
    ]
    assert logger.records == [1, 2, 3, 1, "closed", 4, "finished"]


@pytest.mark.parametrize("fails_at", ["start", "log", "finish"])
def test_a_logger_that_fails_is_told_once_and_stops_nothing(tmp_path, fails_at):
    class Failing(Remembering):
        def log(self, record):
            if fails_at == "log":
                raise ConnectionError("no network")

        def finish(self, results):
            if fails_at == "finish":
                raise BrokenPipeError("service is gone\nand a second line")

    def make():
        if fails_at == "start":
            raise RuntimeError("cannot log in")
        return Failing()

    told, other = [], Remembering()
    metrics = Metrics(tmp_path / "metrics.jsonl", {"bad": make, "good": lambda: other}, told.append)
    metrics.begin("r0-a", 0)
    for step in (1, 2):
        metrics.log({"phase": "r0-a", "step": step})
    metrics.finish({})
    reason = {"start": "cannot log in", "log": "no network", "finish": "service is gone"}[fails_at]
    assert told == [f"logger bad failed ({reason}) and gets nothing more; metrics.jsonl has everything"]
    assert other.records == [1, 2, "finished"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_mistake_in_a_loggers_options_is_an_error(tmp_path):
    def make():
        raise ConfigError("mode")

    with pytest.raises(ConfigError, match="mode"):
        Metrics(tmp_path / "metrics.jsonl", {"bad": make}, pytest.fail)


def test_a_run_with_csv(small, tmp_path):
    dmtc.train(dmtc.compose([*small, "loss=supervised", "logger=csv"]), tmp_path / "run")
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["phase"] for row in rows} == {"r0-a"}
    assert any(row["loss"] for row in rows)


def test_wandb_offline_keeps_one_id_and_gets_the_results(small, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    overrides = [*small, "loss=supervised", "logger=wandb", "logger.wandb.mode=offline"]
    run = dmtc.train(dmtc.compose(overrides), tmp_path / "run")
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert folder.name.endswith((run.folder.path / "wandb_id.txt").read_text())
    assert next(folder.glob("*.wandb")).stat().st_size > 0


def test_wandb_mode_is_checked(tmp_path):
    spec = {"name": "wandb", "project": "x", "entity": None, "mode": "sometimes", "group": None, "tags": []}
    with pytest.raises(ConfigError, match="online, offline or disabled"):
        LOGGERS.build(spec, folder=tmp_path, config={})


def shown(display, capsys) -> str:
    progress = Progress([PHASE], display)
    progress.begin("r0-a training", 8, "step")
    for step in range(1, 9):
        progress.advance(1, training=True)
        if step % 4 == 0:
            progress.show(PHASE, step, VALUES)
    progress.end()
    progress.say("r0-a: mIoU 0.5")
    progress.close()
    out, err = capsys.readouterr()
    assert out == "", "standard output is for results"
    return err


def test_lines(capsys):
    lines = shown("lines", capsys).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("r0-a  step 4/8  loss 1.500  rate 1.0e-01  20 images/s")
    assert lines[0].endswith("left")
    assert lines[2] == "r0-a: mIoU 0.5"


def test_bars(capsys):
    text = shown("bars", capsys)
    for part in ("plan: 100%", "8/8", "r0-a training", "loss 1.500", "20 images/s", "r0-a: mIoU 0.5"):
        assert part in text


def test_off(capsys):
    assert shown("off", capsys) == ""


def test_warnings_are_shown_where_nothing_else_is(capsys):
    for display in ("off", "lines"):
        Progress([PHASE], display).warn("mIoU fell")
        assert capsys.readouterr().err == "WARNING: mIoU fell\n"


def test_auto_is_lines_where_there_is_no_terminal(capsys):
    assert shown("auto", capsys).startswith("r0-a  step 4/8")


def test_phases_of_an_earlier_run_count_as_done_but_not_for_the_speed(capsys):
    other = Phase("r0-b", "start", "b", None, None, None, 8, 0.1, 4, 0, 1)
    progress = Progress([PHASE, other], "lines")
    progress.skip(PHASE.steps)
    progress.advance(8, training=True)
    progress.show(other, 8, VALUES)
    assert "00:00 left" in capsys.readouterr().err
