"""Text at the width of a terminal, and as it is elsewhere."""

import fcntl
import os
import pty
import struct
import sys
import termios
from contextlib import contextmanager

import pytest

from dmtc.cli.main import main
from dmtc.core.terminal import fitted, show
from dmtc.report.sweeps.sweep_tables import markdown
from dmtc.report.tables import text_table
from dmtc.tracking.progress import Progress

WORDS = "the images of this run were changed after it began, so that its scores are of other images than before"


@contextmanager
def terminal(columns: int):
    """A terminal to write to, and a function that reads what was written."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(writer, "w") as stream:

        def written() -> list[str]:
            stream.flush()
            os.set_blocking(reader, False)
            parts = []
            while True:
                try:
                    parts.append(os.read(reader, 65536))
                except OSError:
                    return b"".join(parts).decode().replace("\r\n", "\n").splitlines()

        yield stream, written
    os.close(reader)


@pytest.mark.parametrize("columns", [60, 80])
def test_lines_end_between_words_on_a_terminal(columns):
    with terminal(columns) as (stream, written):
        show(f"error: {WORDS}", stream)
        lines = written()
    assert len(lines) == -(-len(f"error: {WORDS}") // columns)
    assert all(len(line) <= columns for line in lines)
    assert " ".join(line.strip() for line in lines) == f"error: {WORDS}"
    assert all(line.startswith("       ") for line in lines[1:]), "below the first word of the message"


def test_files_and_pipes_get_lines_as_they_are(capsys, tmp_path):
    show(WORDS + WORDS)
    assert capsys.readouterr().out == f"{WORDS}{WORDS}\n"
    with open(tmp_path / "out", "w") as file:
        show(WORDS + WORDS, file)
    assert (tmp_path / "out").read_text() == f"{WORDS}{WORDS}\n"


def test_a_path_stays_whole():
    path = "/data/" + "photographs-of-fields/" * 4
    assert path in fitted(f"written to {path} and to {path}", 60).split()


@pytest.mark.parametrize("make", [lambda *table: text_table(*table), lambda *table: markdown(table)])
def test_columns_that_do_not_fit_stand_below(make):
    columns = ["class", *(f"IoU of network {letter}" for letter in "abcdefg")]
    rows = [[f"class {i}", *(f"{10 * i + j}.5" for j in range(7))] for i in range(3)]
    table = make(columns, rows)
    assert fitted(table, 200) == table
    narrow = fitted(f"before\n\n{table}\nafter it", 60).splitlines()
    assert max(map(len, narrow)) <= 60
    heads = [line for line in narrow if "IoU" in line]
    assert len(heads) > 1
    assert all(line.strip("| ").startswith("class") for line in heads), "each part names the classes"
    cells = [word for line in narrow if line.strip("| ").startswith("class ") for word in line.split() if "." in word]
    assert sorted(cells) == sorted(cell for row in rows for cell in row[1:])
    assert (narrow[0], narrow[-1]) == ("before", "after it")


def test_a_column_wider_than_the_terminal_is_folded():
    narrow = fitted(text_table(["run", "why"], [["a", WORDS], ["b", "short"]]), 60).splitlines()
    assert max(map(len, narrow)) <= 60
    assert " ".join(" ".join(narrow[2:-1]).split()) == f"a {WORDS}"
    assert narrow[-1].split() == ["b", "short"]


@pytest.mark.parametrize(("arguments", "most"), [(["--help"], 80), (["metod=dmt"], 60), (["loss=zzz"], 60)])
def test_help_and_errors_of_the_command(monkeypatch, arguments, most):
    with terminal(most) as (stream, written):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) if arguments != ["--help"] else monkeypatch.context():
            main(arguments)
        lines = written()
    assert lines
    assert max(map(len, lines)) <= most, max(lines, key=len)


def test_lines_of_a_run_above_its_bars(monkeypatch):
    with terminal(60) as (stream, written):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress([], "lines")
        progress.say(f"data:     {WORDS}")
        progress.warn(WORDS)
        lines = written()
    assert max(map(len, lines)) <= 60
    assert [line[:10] for line in lines if line.startswith(("data", "WARN"))] == ["data:     ", "WARNING: t"]
