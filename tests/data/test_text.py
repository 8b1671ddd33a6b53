"""Text files as editors save them: marks, line ends, other encodings, and what is no text."""

import os

import pytest

from dmtc.core.errors import DataError
from dmtc.data.folder.class_lists import read_class_list
from dmtc.data.listed import numbered_lines
from dmtc.data.text import read_text

NAMES = ["sky", "road", "Straße"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_are_no_part_of_an_entry(tmp_path, encoding, end):
    path = tmp_path / "classes.txt"
    path.write_bytes((end.join(NAMES) + end).encode(encoding))
    assert numbered_lines(path) == list(enumerate(NAMES, start=1))
    assert read_class_list(path).names == tuple(NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Straße\n".encode("latin-1"), r"not UTF-8 text \(byte 4: .*\); save it as UTF-8"),
        ("sky\n".encode("utf-16-le"), "it holds zero bytes"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_text_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "val.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_text(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pipes_and_folders_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "val.txt")
    for path in (tmp_path / "val.txt", tmp_path):
        with pytest.raises(DataError, match="not a regular file"):
            read_text(path)
