import csv
import json

import pytest

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.tracking import CsvLogger, JsonLines, RunLog, Tracker


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


class Remembering(Tracker):
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
    first = RunLog(path, {"mine": lambda: logger}, pytest.fail)
    first.begin("r0-a", 0)
    for step in (1, 2, 3):
        first.log({"phase": "r0-a", "step": step, "loss": 0.5})
    first.log({"phase": "r0-b", "step": 1, "loss": 0.5})
    first.close()
    path.write_text(path.read_text() + '{"phase": "r0-a", "st')  # cut off

    second = RunLog(path, {"mine": lambda: logger}, pytest.fail)
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
    metrics = RunLog(tmp_path / "metrics.jsonl", {"bad": make, "good": lambda: other}, told.append)
    metrics.begin("r0-a", 0)
    for step in (1, 2):
        metrics.log({"phase": "r0-a", "step": step})
    metrics.finish({})
    reason = {"start": "cannot log in", "log": "no network", "finish": "service is gone"}[fails_at]
    assert told == [f"logger bad failed ({reason}) and is turned off; metrics.jsonl has everything"]
    assert other.records == [1, 2, "finished"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_mistake_in_a_loggers_options_is_an_error(tmp_path):
    def make():
        raise ConfigError("mode")

    with pytest.raises(ConfigError, match="mode"):
        RunLog(tmp_path / "metrics.jsonl", {"bad": make}, pytest.fail)


def test_a_run_with_csv(small, tmp_path):
    dmtc.train(dmtc.compose([*small, "method=supervised", "logger=csv"]), tmp_path / "run")
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["phase"] for row in rows} == {"r0-a"}
    assert any(row["loss"] for row in rows)
