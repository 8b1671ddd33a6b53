"""Videos frame by frame: what is written of them, and what becomes of damaged ones."""

import cv2
import numpy as np
import pytest

from dmtc.data.faults import FileFault
from dmtc.prediction.videos import Video, writing_video

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 30, 30)]


@pytest.fixture
def clip(tmp_path):
    """Five frames of one color each, 40 x 56 pixels, ten a second."""
    with writing_video(tmp_path / "in" / "clip.mp4", 10, 40, 56) as video:
        for color in COLORS:
            video.write(np.full((40, 56, 3), color, np.uint8))
    return tmp_path / "in" / "clip.mp4"


def frames_of(path) -> list[np.ndarray]:
    with Video(path) as video:
        return [frame for batch in video.batches(2) for frame in batch]


def test_reading_and_writing(clip):
    with Video(clip) as video:
        assert (video.facts.rate, video.facts.frames) == (10, 5)
        assert [len(batch) for batch in video.batches(2)] == [2, 2, 1]
    for frame, color in zip(frames_of(clip), COLORS, strict=True):
        assert frame.shape == (40, 56, 3)
        assert np.abs(frame.mean((0, 1)) - color).max() < 12, "RGB, and compressed"


def test_a_video_gets_its_name_when_it_is_whole(tmp_path):
    def interrupted():
        with writing_video(tmp_path / "clip.mp4", 10, 40, 56) as video:
            video.write(np.zeros((40, 56, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video_is_a_fault(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(FileFault, match=r"text\.mp4: cannot be read as a video"):
        Video(tmp_path / "text.mp4")


@pytest.mark.parametrize("write", ["[index,overlay,probabilities]", "[palette]"])
def test_a_video_is_predicted_frame_by_frame(command, finished, clip, tmp_path, write):
    arguments = ("job=predict", f"run={finished.folder.path}", "run.device=cpu", f"job.write={write}")
    arguments += (f"input={clip.parent}", "output=out", "run.label_batch=2")
    code, out, err = command(*arguments, small_run=False)
    assert code == 0, err
    assert out.startswith("1 video, 5 frames in ")
    kind = "index" if "index" in write else "palette"
    masks = sorted((tmp_path / "out" / kind / "clip").iterdir())
    assert [path.name for path in masks] == [f"frame_{number:06d}.png" for number in range(5)]
    if kind == "index":
        frames = frames_of(clip)
        for path, frame in zip(masks, frames, strict=True):
            np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), finished.predict(frame))
        with Video(tmp_path / "out" / "overlay" / "clip.mp4") as video:
            assert video.facts.rate == 10
        overlays = frames_of(tmp_path / "out" / "overlay" / "clip.mp4")
        assert len(overlays) == 5
        blended = frames[0] / 2 + finished.dataset.colored(finished.predict(frames[0])) / 2
        assert np.abs(overlays[0].mean((0, 1)) - blended.mean((0, 1))).max() < 12
    assert not list((tmp_path / "out").rglob("*.part*"))
    code, out, _ = command(*arguments, "job.existing=skip", small_run=False)
    assert (code, out) == (0, "nothing left to do in out\n")
    assert command(*arguments, "job.existing=replace", small_run=False)[0] == 0
    assert sorted((tmp_path / "out" / kind / "clip").iterdir()) == masks


def test_a_video_that_ends_early_is_told(command, finished, clip, tmp_path, monkeypatch):
    real = Video.batches
    monkeypatch.setattr(Video, "batches", lambda self, size: iter(list(real(self, size))[:1]))
    given = ("job=predict", f"run={finished.folder.path}", f"input={clip}", "output=out", "job.write=[index]")
    code, _, err = command(*given, "run.label_batch=2", "run.device=cpu", small_run=False)
    assert code == 0, err
    assert "ended after 2 of 5 frames" in err
