import os
import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest
import torch

import dmtc
from dmtc.api.launch import _cache_forecast
from dmtc.batches import Loader, training_requests
from dmtc.core.errors import ConfigError, DataError
from dmtc.data.cache import ImageCache
from dmtc.data.images import ImageReader, read_image
from dmtc.engine.checks import settle
from dmtc.engine.components import Components

NOISE = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)


def write(path, image=NOISE):
    cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture
def decoded(monkeypatch):
    """Paths of the images that were decoded and not taken from the cache."""
    paths = []
    read = ImageReader.__call__
    monkeypatch.setattr(ImageReader, "__call__", lambda reader, path: paths.append(path.name) or read(reader, path))
    return paths


def test_an_image_is_decoded_once(tmp_path, decoded):
    path = write(tmp_path / "x.jpg")
    expected = read_image(path)
    decoded.clear()
    for cache in (ImageCache(tmp_path / "c"), ImageCache(tmp_path / "c")):
        for _ in range(2):
            image = cache(path)
            np.testing.assert_array_equal(image, expected)
            assert image.flags.writeable, "as a decoded one"
    assert decoded == ["x.jpg"]
    assert sum(file.stat().st_size for file in (tmp_path / "c").iterdir()) == NOISE.size + 40


def test_files_that_have_changed_places_are_decoded_anew(tmp_path):
    """Even if they have the same size and time, as files of one archive have."""
    one, other = (write(tmp_path / f"{number}.bmp", image) for number, image in enumerate((NOISE, NOISE[::-1])))
    for path in (one, other):
        os.utime(path, ns=(10**18, 10**18))
    assert one.stat().st_size == other.stat().st_size
    cache = ImageCache(tmp_path / "c")
    cache(one)
    one.unlink()
    other.rename(one)
    np.testing.assert_array_equal(cache(one), NOISE[::-1])


def test_a_changed_file_is_decoded_anew(tmp_path, decoded):
    path, cache = write(tmp_path / "x.png"), ImageCache(tmp_path / "c")
    cache(path)
    write(path, NOISE[::-1])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # whatever the clock of the file system
    np.testing.assert_array_equal(cache(path), NOISE[::-1])
    write(path, NOISE[:, 3:])
    np.testing.assert_array_equal(cache(path), NOISE[:, 3:])
    assert len(decoded) == 3
    path.unlink()
    with pytest.raises(DataError, match=r"x\.png: cannot be read"):
        cache(path)


def test_files_of_one_name_are_told_apart(tmp_path, decoded):
    cache = ImageCache(tmp_path / "c")
    for folder, image in (("a", NOISE), ("b", NOISE[::-1])):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "x.png", image)
    for _ in range(2):
        np.testing.assert_array_equal(cache(tmp_path / "a" / "x.png"), NOISE)
        np.testing.assert_array_equal(cache(tmp_path / "b" / "x.png"), NOISE[::-1])
    assert len(decoded) == 2


@pytest.mark.parametrize("damaged", [b"", b"short", b"x" * 24, b"x" * (24 + NOISE.size)])
def test_a_damaged_entry_is_written_anew(tmp_path, decoded, damaged):
    path, cache = write(tmp_path / "x.png"), ImageCache(tmp_path / "c")
    cache(path)
    (entry,) = (tmp_path / "c").iterdir()
    for content in (damaged, entry.read_bytes()[:-1]):
        entry.write_bytes(content)
        np.testing.assert_array_equal(cache(path), NOISE)
    np.testing.assert_array_equal(cache(path), NOISE)
    assert len(decoded) == 3


def test_a_folder_that_cannot_be_written_is_told_once_and_done_without(tmp_path, caplog):
    (tmp_path / "c").write_text("a file")
    cache = ImageCache(tmp_path / "c")
    for name in ("x.png", "y.png"):
        np.testing.assert_array_equal(cache(write(tmp_path / name)), NOISE)
    assert [record.message.split(": ")[0] for record in caplog.records] == [f"image cache {tmp_path / 'c'}"]


def test_its_size_is_told_before(tmp_path, monkeypatch):
    images = {str(number): write(tmp_path / f"{number}.png") for number in range(70)}
    images |= {"70": tmp_path / "gone.png"}
    cache, ids = ImageCache(tmp_path / "far" / "c"), sorted(images)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(10**6))
    line = cache.forecast(images, ids)
    assert line.startswith(f"image cache {tmp_path / 'far' / 'c'}: 71 decoded images take about 0.0 GB, 0.0 GB of it")
    assert not cache.folder.exists(), "nothing is written to tell it"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(1000))
    with pytest.raises(ConfigError, match=r"run\.image_cache=.* only 0\.0 GB are free there; choose another folder"):
        cache.forecast(images, ids)
    for path in list(images.values())[:70]:
        cache(path)
    assert "0.0 GB of it still" in cache.forecast(images, ids), "all is there: nothing more is needed"


def test_batches_are_the_same_with_and_without(small, tmp_path):
    """Two processes fill one cache; a second pass reads from it."""

    def batches(components):
        phase = components.plan[0]
        loader = Loader(components.dataset, components.augment, 2, torch.device("cpu"))
        crops = list(loader.crops(training_requests(phase, components.split.labelled, (), None, seed=0)))
        return crops + list(loader.images(components.dataset.val, 4, with_mask=True))

    without = Components(settle(dmtc.compose(small)))
    cached = Components(settle(dmtc.compose([*small, f"run.image_cache={tmp_path / 'c'}"])))
    assert _cache_forecast(without) is None
    assert _cache_forecast(cached).endswith("are free")
    expected = batches(without)
    for _ in range(2):
        for one, other in zip(batches(cached), expected, strict=True):
            assert one.ids == other.ids
            assert one.image.equal(other.image)
            assert one.label.equal(other.label)
    names = [file.name for file in (tmp_path / "c").iterdir()]
    assert len(names) == len({*without.split.labelled, *without.dataset.val})
    assert all(name.endswith(".rgb") for name in names), "nothing unfinished is left"
