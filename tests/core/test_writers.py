"""Writers: whole files or none, whatever happens; names that fit; and left-overs that are told from what is alive."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import dmtc
from dmtc.core.files import remove_unfinished, replacing, replacing_folder, write_atomically
from dmtc.core.system_errors import explain_os_error
from dmtc.export import ExportOptions, export_run
from dmtc.prediction import outputs as prediction_outputs
from dmtc.prediction.videos import is_whole_video, writing_video
from dmtc.run.folder import RunFolder
from trees import save

HEX = "0123456789abcdef" * 2


@contextmanager
def little_room(size: int) -> Iterator[None]:
    """No file can grow beyond some bytes: as a full disk, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def full_disk(monkeypatch):
    """No byte can be written any more, anywhere, by what goes through our writer."""

    def full(self, *given, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def begin() -> None:
        for name in ("write_bytes", "write_text"):
            monkeypatch.setattr(Path, name, full)

    return begin


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Names.


@pytest.mark.parametrize("letter", ["a", "道", "é"])
def test_every_name_that_a_file_can_have_can_be_written(tmp_path, letter):
    """The temporary name too has to fit, in bytes."""
    width = len(letter.encode())
    for count in (255 // width, 216 // width, 254 // width):
        name = letter * count
        write_atomically(tmp_path / name, b"content")
        with replacing_folder(tmp_path / "folder" / name) as folder:
            (folder / "file").touch()
        with replacing(tmp_path / "video" / name, suffix=".mp4") as unfinished:
            unfinished.write_bytes(b"frames")
    assert not [name for name in names_below(tmp_path) if name.endswith(".part")]
    with pytest.raises(OSError, match="File name too long") as caught:
        write_atomically(tmp_path / "new" / (letter * 256), b"")
    assert explain_os_error(caught.value)[1] == 2
    assert not (tmp_path / "new").exists(), "folders made for it go again"


@pytest.mark.parametrize("path", ["/", "."])
def test_what_can_be_no_file_is_told(path):
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"")


# Left-overs.


def test_only_what_writers_here_leave_is_tidied(tmp_path):
    ours = [f".a.png.{HEX}.part", f"deep/.clip.mp4.{HEX}.part.mp4", f".道.{HEX}.part"]
    folders = [f"export/.onnx.{HEX}.part"]
    others = [
        ".film.mkv.part",
        f".film.{HEX[:-1]}.part",
        f"film.{HEX}.part",
        f".a.{HEX}.part.bak",
        f".a.{HEX.upper()}.part",
    ]
    for name in [*ours, *others]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in folders:
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/model.onnx").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    (tmp_path / f".link.{HEX}.part").symlink_to(tmp_path / "mine")
    RunFolder(tmp_path).tidy()
    assert names_below(tmp_path) == sorted([*others, "deep", "export", "mine", "mine/file", f".link.{HEX}.part"])


WRITER = """
import sys, time
from pathlib import Path
from dmtc.core.files import replacing, replacing_folder
with replacing(Path(sys.argv[1], "file")) as file, replacing_folder(Path(sys.argv[1], "folder")) as folder:
    file.write_text("half")
    (folder / "inside").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_living_process_writes_is_left_alone_until_it_dies(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    before = names_below(tmp_path)
    assert len(before) == 3
    remove_unfinished(tmp_path)
    assert names_below(tmp_path) == before
    writer.kill()
    writer.communicate()
    remove_unfinished(tmp_path)
    assert names_below(tmp_path) == []


def test_a_writer_that_is_overtaken_by_a_tidier_begins_again(tmp_path, monkeypatch):
    """Between making its file and locking it."""
    import fcntl

    real, tidied = fcntl.flock, []

    def late(descriptor, operation):
        if not tidied:
            tidied.append(1)
            remove_unfinished(tmp_path)
        real(descriptor, operation)

    monkeypatch.setattr("dmtc.core.files.fcntl.flock", late)
    write_atomically(tmp_path / "file", b"content")
    assert tidied
    assert names_below(tmp_path) == ["file"]


# Full disks.


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("torch_export", "onnx")]


@pytest.mark.parametrize("format", ["torchscript", "safetensors", *LONG])
def test_an_export_on_a_full_disk_is_told_and_nothing_is_left(command, finished, tmp_path, format):
    """PyTorch's own writers would end the whole process."""
    with little_room(20_000):
        given = ("job=export", f"run={finished.folder.path}", f"format={format}", "output=deep/out")
        code, out, err = command(*given, small_run=False)
    assert code == 1, out + err
    assert err.startswith("error: deep/out")
    assert "File too large" in err
    assert len(err.splitlines()) == 1
    assert names_below(tmp_path) == []


def test_an_export_that_finds_no_room_leaves_the_earlier_one(finished, tmp_path):
    options = ExportOptions(networks="a")
    export_run(finished, "torchscript", tmp_path / "out", options)
    (tmp_path / "out/NOTES.md").write_text("mine")
    before = {name: (tmp_path / name).read_bytes() for name in names_below(tmp_path) if (tmp_path / name).is_file()}
    assert len(before) == 6
    with little_room(20_000), pytest.raises(OSError, match=r"out/model\.pt"):
        export_run(finished, "torchscript", tmp_path / "out", options)
    after = {name: (tmp_path / name).read_bytes() for name in names_below(tmp_path) if (tmp_path / name).is_file()}
    assert after == before


def test_a_run_that_begins_on_a_full_disk_is_told_and_nothing_is_left(command, data_root, tmp_path, full_disk):
    full_disk()
    code, _, err = command("method=supervised", "hydra.run.dir=deep/run")
    assert code == 1
    assert err.startswith("error: the disk is full: ")
    assert "deep/run/.lock (No space left on device) while preparing" in err
    assert err.rstrip().endswith("the same command")
    assert names_below(tmp_path) == []


def test_a_report_on_a_full_disk_is_told_and_nothing_is_left(command, finished, tmp_path, full_disk):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run, ignore=shutil.ignore_patterns("report*", "pictures", ".dmtc*"))
    before = names_below(tmp_path)
    with little_room(20_000):
        code, _, err = command("job=report", f"run={run}", "run.pictures=1", "job.out=out", small_run=False)
    assert code == 1
    assert "File too large" in err
    assert len(err.splitlines()) == 1
    assert names_below(tmp_path) == before


def test_the_built_in_pictures_on_a_full_disk(small, tmp_path, full_disk):
    full_disk()
    with pytest.raises(OSError, match="No space left") as caught:
        dmtc.train(dmtc.compose([*small, f"dataset.root={tmp_path / 'data'}"]), tmp_path / "run")
    assert explain_os_error(caught.value)[1] == 1
    assert [name for name in names_below(tmp_path) if not name.endswith(".lock")] == ["data"]


def test_a_logger_or_cache_that_finds_no_room_does_not_end_a_run(small, tmp_path):
    from dmtc.data.cache import ImageCache

    cache = ImageCache(tmp_path / "cache")
    save(tmp_path / "a.png", np.zeros((80, 80, 3), np.uint8))
    with little_room(1000):
        assert cache(tmp_path / "a.png").shape == (80, 80, 3)
    assert names_below(tmp_path) == ["a.png"]


# Videos.

FRAMES = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8)


def write_video(path: Path) -> None:
    with writing_video(path, 5, 64, 64) as video:
        for frame in FRAMES:
            video.write(frame)


def test_a_video_that_could_not_be_written_whole_gets_no_name(tmp_path):
    with little_room(20_000), pytest.raises(OSError, match=r"only 0 of 30 frames could be written.*out/clip\.mp4"):
        write_video(tmp_path / "out/clip.mp4")
    assert names_below(tmp_path) == []


def test_a_video_on_a_full_disk_is_not_written_on(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    free = iter([usage.free])  # at the first frame, and nothing when it is looked again
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=next(free, 0)))
    with pytest.raises(OSError, match="No space left") as caught:
        write_video(tmp_path / "clip.mp4")
    assert explain_os_error(caught.value) == (f"{tmp_path}/clip.mp4: No space left on device", 1)
    assert names_below(tmp_path) == []


def write_clip(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    clip = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
    for frame in FRAMES[:6]:
        clip.write(frame)
    clip.release()


def test_half_a_video_is_not_done_and_foreign_frames_are_not_replaced(command, finished, tmp_path):
    write_clip(tmp_path / "in/clip.avi")
    given = ("job=predict", f"run={finished.folder.path}", "input=in", "output=out", "job.write=[overlay,index]")
    assert command(*given, small_run=False)[0] == 0
    overlay, frames = tmp_path / "out/overlay/clip.mp4", tmp_path / "out/index/clip"
    assert is_whole_video(overlay)
    assert len(list(frames.iterdir())) == 6
    overlay.write_bytes(overlay.read_bytes()[: overlay.stat().st_size // 2])
    assert not is_whole_video(overlay)
    code, out, err = command(*given, "job.existing=skip", small_run=False)
    assert code == 0, err
    assert out.startswith("1 video")
    assert is_whole_video(overlay)
    (frames / "notes.txt").write_text("mine")
    for existing in ("skip", "replace"):
        code, _, err = command(*given, f"job.existing={existing}", small_run=False)
        assert code == 2
        assert "out/index/clip/notes.txt is not a frame of a video and is left alone" in err
    assert (frames / "notes.txt").read_text() == "mine"


def test_frames_of_a_video_do_not_replace_a_folder_of_results(command, finished, tmp_path):
    """Of images that lay in a folder called as the video is."""
    save(tmp_path / "first/clip/x.png", FRAMES[0])
    write_clip(tmp_path / "second/clip.avi")
    given = ("job=predict", f"run={finished.folder.path}", "output=out", "job.write=[index]", "job.existing=replace")
    assert command(*given, "input=first", small_run=False)[0] == 0
    code, _, err = command(*given, "input=second", small_run=False)
    assert code == 2
    assert "out/index/clip" in err
    assert (tmp_path / "out/index/clip/x.png").is_file()


def test_names_too_long_for_a_result_are_told_and_the_others_predicted(command, finished, tmp_path, monkeypatch):
    for name in ("a" * 230, "b" * 251, "z"):
        save(tmp_path / f"in/{name}.png", FRAMES[0])
    given = ("job=predict", f"run={finished.folder.path}", "input=in", "output=out", "job.write=[index]")
    assert command(*given, small_run=False)[0] == 0
    assert len(list((tmp_path / "out/index").iterdir())) == 3
    monkeypatch.setitem(prediction_outputs.SUFFIXES, "index", ".label.png")
    code, out, err = command(*given, "job.existing=replace", small_run=False)
    assert code == 2
    assert "skipped: in/bbb" in err
    assert out.startswith("2 images")
    assert {path.name[0] for path in (tmp_path / "out/index").glob("*.label.png")} == {"a", "z"}


# What the system says.


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 9), "aaaaaaaaa: File name too long", 2),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "file/x"), "file/x: Not a directory", 2),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", b"a"), "a: Too many levels of symbolic links", 2),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "a -> b: Invalid cross-device link", 2),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied", 2),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a: No space left on device", 1),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device", 1),
        (OSError(errno.EIO, "Input/output error", "a"), "a: Input/output error", 1),
        (OSError("two\nlines"), "two lines", 1),
        (OSError(), "OSError", 1),
    ],
)
def test_an_error_of_the_system_is_one_line(error, line, code):
    assert explain_os_error(error) == (line, code)


LONG = "l" * 300
PATHS: dict[str, list[str]] = {
    "resume": ["resume={}"],
    "run.dir": ["hydra.run.dir={}"],
    "sweep.dir": ["-m", "seed=0,1", "hydra.sweep.dir={}"],
    "run": ["job=evaluate", "run={}"],
    "report out": ["job=report", "run={run}", "job.out={}"],
    "runs": ["job=report", "runs={}"],
    "input": ["job=predict", "run={run}", "input={}", "output=out"],
    "predict output": ["job=predict", "run={run}", "input={picture}", "output={}"],
    "export output": ["job=export", "run={run}", "format=safetensors", "output={}"],
    "benchmark output": ["job=benchmark", "schedule=smoke", "job.output={}/x"],
    "cache": ["run.image_cache={}"],
    "weights": ["model.weights.a={}"],
    "data": ["dataset=folder", "dataset.root={}"],
    "tag": ["tag={}"],
}


@pytest.mark.sampled(12)
@pytest.mark.parametrize("option", PATHS)
@pytest.mark.parametrize("kind", ["file", "file/x", "loop", LONG])
def test_a_path_that_cannot_be_one_is_told_in_a_line_and_nothing_is_left(
    command, small, finished, tmp_path, option, kind
):
    if option == "tag" and kind != LONG:
        pytest.skip("part of a name, no path")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    save(tmp_path / "picture.png", FRAMES[0])
    if option == "input" and kind == "file":
        kind = "file/y"  # a file may well be an input
    values = {"run": finished.folder.path, "picture": tmp_path / "picture.png"}
    arguments = [argument.format(kind, **values) for argument in PATHS[option]]
    before = names_below(tmp_path)
    code, out, err = command(*([] if "job" in arguments[0] or option == "data" else small), *arguments, small_run=False)
    assert code == 2, out + err
    assert "Traceback" not in err
    (line,) = [one for one in err.splitlines() if one.startswith("error: ")]
    assert kind in line
    assert names_below(tmp_path) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_mistyped_run_to_go_on_with_is_not_made(command, tmp_path):
    for folder in ("TYPO", "deep/TYPO"):
        code, _, err = command(f"resume={folder}", small_run=False)
        assert code == 2
        assert "no run folder" in err
    assert names_below(tmp_path) == []


def test_a_command_that_fails_leaves_no_empty_folder(command, tmp_path):
    assert command("split.ratio=1/1000", "hydra.run.dir=deep/new")[0] == 2
    assert names_below(tmp_path) == []


def test_only_debugging_shows_where_the_system_said_it(command, monkeypatch):
    monkeypatch.setattr("dmtc.cli.jobs.plan.plan_table", lambda *given: Path("nowhere").read_text())
    for more, shown in ((), False), (("run.debug=true",), True):
        code, _, err = command("job=plan", *more)
        assert code == 2
        assert err.rstrip().endswith("error: nowhere: No such file or directory")
        assert ("Traceback" in err) == shown
