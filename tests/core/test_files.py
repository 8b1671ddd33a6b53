"""The files that dmtc reads and writes: what is a file at all, and that no reader waits for one that never ends."""

import os
import socket

import pytest

from dmtc.core.errors import DataError
from dmtc.core.files import open_regular, read_regular, require_regular


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "socket"])
def test_what_is_no_regular_file_is_told_without_being_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    path = "/dev/zero" if kind == "device" else kind
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path)
    for read in (require_regular, open_regular, read_regular):
        with pytest.raises(DataError, match=f"^{path} is a {kind}, not a regular file$"):
            read(path)


def test_a_pipe_that_takes_the_place_of_a_file_does_not_block(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    os.mkfifo(path)
    monkeypatch.setattr("dmtc.core.files.require_regular", lambda path: None)  # it was a file when it was asked
    with pytest.raises(DataError, match="is a pipe"):
        open_regular(path)


def test_a_regular_file_is_read_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"content"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
