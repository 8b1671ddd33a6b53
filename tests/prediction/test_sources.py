"""What is found to predict, and how results are called."""

import os

import pytest

from dmtc.core.errors import DataError
from dmtc.prediction.sources import find_sources


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(*inputs, output):
    return [source.name for source in find_sources([str(one) for one in inputs], output)]


def test_a_folder_keeps_its_structure_and_hidden_and_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "in/a.jpg", "in/b/a.PNG", "in/b/c/clip.mp4", "in/.hidden.png", "in/.cache/x.png", "in/notes.txt")
    assert names(tmp_path / "in", output=tmp_path / "out") == ["a", "b/a", "b/c/clip"]


def test_files_that_differ_in_the_suffix_alone_keep_it(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "b.png")
    assert names(tmp_path, output=tmp_path / "out") == ["a.jpg", "a.png", "b"]


def test_a_longer_name_may_meet_another(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "a.jpg.png")
    assert names(tmp_path, output=tmp_path / "out") == ["a.jpg", "a.jpg.png", "a.png"]


def test_frames_of_a_video_do_not_lie_among_images(tmp_path):
    touch(tmp_path, "clip.mp4", "clip/frame_000000.png")
    assert names(tmp_path, output=tmp_path / "out") == ["clip.mp4", "clip/frame_000000"]


def test_names_that_cannot_be_told_apart_are_refused(tmp_path):
    touch(tmp_path, "one/a.jpg", "two/a.jpg")
    with pytest.raises(
        DataError, match=r"2 inputs would be written under the names of others.*one/a\.jpg.*folder around"
    ):
        names(tmp_path / "one", tmp_path / "two", output=tmp_path / "out")


def test_a_pattern_is_taken_from_where_it_begins(tmp_path):
    touch(tmp_path, "in/day/a.jpg", "in/night/b.jpg", "in/night/b.txt", "in/c.jpg")
    assert names(tmp_path / "in/**/*.jpg", output=tmp_path / "out") == ["c", "day/a", "night/b"]
    assert names(tmp_path / "in/*/?.jpg", output=tmp_path / "out") == ["day/a", "night/b"]


def test_one_file_and_a_file_whose_name_looks_like_a_pattern(tmp_path):
    touch(tmp_path, "a[1].jpg", "b.unusual")
    assert names(tmp_path / "a[1].jpg", tmp_path / "b.unusual", output=tmp_path / "out") == ["a[1]", "b"]


def test_results_inside_the_input_are_no_input(tmp_path):
    touch(tmp_path, "a.jpg", "out/index/a.png")
    assert names(tmp_path, output=tmp_path / "out") == ["a"]


def test_overlapping_inputs_count_once(tmp_path):
    touch(tmp_path, "in/a.jpg", "in/b.jpg")
    assert names(tmp_path / "in", tmp_path / "in/a.jpg", output=tmp_path / "out") == ["a", "b"]


@pytest.mark.parametrize(("given", "told"), [("nowhere", "no such file or folder"), ("empty", "no images or videos")])
def test_inputs_without_anything_are_told(tmp_path, given, told):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=told):
        names(tmp_path / given, output=tmp_path / "out")
    with pytest.raises(DataError, match=r"\*\.bmp: no image"):
        names(tmp_path / "*.bmp", output=tmp_path / "out")


def test_files_are_told_as_they_were_given(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert [str(source.path) for source in find_sources(["in"], tmp_path / "out")] == ["in/a.jpg"]


def test_kinds_that_are_not_read_are_named_where_nothing_else_is(tmp_path):
    touch(tmp_path, "in/a.dcm", "in/b.nii.gz")
    with pytest.raises(DataError, match=r"2 files in .*in are of kinds that are not read \(\.dcm, \.nii\.gz\)"):
        names(tmp_path / "in", output=tmp_path / "out")


@pytest.mark.parametrize("given", ["x.png", "*.png", ""])
def test_a_pipe_is_told_and_not_waited_for(tmp_path, given):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png is a pipe, not a regular file"):
        names(tmp_path / given, output=tmp_path / "out")
