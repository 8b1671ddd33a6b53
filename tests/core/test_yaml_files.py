"""The reader of YAML files: what is refused, where, and that nothing is made of it."""

import os
from pathlib import Path

import pytest

from dmtc.core.errors import DataError
from dmtc.core.yaml_files import parse_yaml, read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]\n" for n in range(1, 9)
)


def test_plain_values():
    text = "\ufeffseed: 1\nnames: [a, 'b: c', ~]\nmore: {x: 1.5, y: true}\nsame: &s [1]\nagain: *s\nin: {<<: {z: 2}}\n"
    assert parse_yaml(text.lstrip("\ufeff"), "x") == {
        "seed": 1,
        "names": ["a", "b: c", None],
        "more": {"x": 1.5, "y": True},
        "same": [1],
        "again": [1],
        "in": {"z": 2},
    }
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("split: {ratio: 1/4\n", "f.yaml:2:1: "),
        ("seed: 1\n\tx: 2\n", "f.yaml:2:1: "),
        ("a: 1\nb: !!python/object/apply:os.system [touch ran]\n", "f.yaml:2:4: the tag !!python/object/apply:os"),
        ("a: !!python/name:os.system\n", "is refused"),
        ("a: !!python/object/apply:pathlib.Path [x]\n", "is refused"),
        ("a: !mine {b: 1}\n", "the tag !mine is refused"),
        ("!!set {a, b}\n", "the tag !!set is refused"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key 'a' is given twice"),
        ("a: {b: {c: 1, c: 2}}\n", "the key 'c' is given twice"),
        (LAUGHS, "its aliases expand to more than"),
        ("a: &a [*a]\n", "*a refers to nothing before it"),
        ("a: *b\n", "*b refers to nothing"),
        ("[" * 2000, "levels of nesting"),
        ("? [a]\n: 1\n", "f.yaml:1:3: "),
        ("a: 2026-99-99\n", "a value cannot be read"),
        ("a: " + "9" * 5000, "a value cannot be read"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: "),
        ("a: \x00\n", "f.yaml: "),
        ("%YAML 9\n---\na", "f.yaml"),
    ],
)
def test_faults_are_one_line_with_their_place(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(text)
    with pytest.raises(DataError) as caught:
        read_yaml("f.yaml")
    assert told in str(caught.value)
    assert str(caught.value).startswith("f.yaml")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["f.yaml"]


def test_what_is_no_text_file_is_told_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"a: 1\nb: \xff\xfe\n")
    (tmp_path / "large.yaml").touch()
    os.truncate(tmp_path / "large.yaml", 1 << 30)
    told = {
        "pipe": "is a pipe, not a",
        "folder": "is a folder, not a",
        "bytes": ":2: is not UTF-8 text",
        "large": "1074 MB",
        "none": "No such file",
        "x" * 300: "File name too long",
    }
    for name, text in told.items():
        with pytest.raises(DataError, match=text):
            read_yaml(tmp_path / f"{name}.yaml")
    with pytest.raises(DataError, match="is a device, not a"):
        read_yaml("/dev/null")


def test_a_mark_at_the_beginning_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\n")
    assert read_yaml(tmp_path / "f.yaml") == {"seed": 1}
