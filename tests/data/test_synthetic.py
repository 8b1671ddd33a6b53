import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.types import IGNORE_INDEX
from dmtc.data import DATASETS


def build(root, **changes):
    spec = {"root": str(root), "seed": 0, "train_images": 24, "val_images": 4, "size": 48, **changes}
    return DATASETS.build({"name": "synthetic", **spec})


def digest(dataset):
    files = [*dataset.images.values(), *dataset.masks.values()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return build(tmp_path_factory.mktemp("cache"), train_images=60, val_images=12)


def test_shapes_and_values(dataset):
    assert (len(dataset.train), len(dataset.val), dataset.num_classes) == (60, 12, 7)
    assert dataset.unmasked == ()
    for id in (*dataset.train, *dataset.val):
        sample = dataset.sample(id)
        assert sample.image.shape == (48, 48, 3)
        assert sample.label.max() < 7 or sample.label.max() == IGNORE_INDEX


def test_every_class_occurs_and_one_is_rare(dataset):
    present = np.array([np.bincount(dataset.mask(id).ravel(), minlength=256)[:7] > 0 for id in dataset.train])
    share = present.mean(0)
    assert 0.06 <= share[6] <= 0.1
    assert np.all(share[:6] > 0.3)
    pixels = np.array([np.bincount(dataset.mask(id).ravel(), minlength=256)[:7] for id in dataset.train]).sum(0)
    assert pixels[6] < 0.02 * pixels.sum()


def test_same_arguments_give_the_same_files(tmp_path):
    first, again = build(tmp_path / "one"), build(tmp_path / "two")
    assert digest(first) == digest(again)
    assert digest(first) != digest(build(tmp_path / "one", seed=1))


def test_more_images_keep_the_pictures_of_fewer(tmp_path):
    few, many = build(tmp_path), build(tmp_path, train_images=30)
    np.testing.assert_array_equal(few.image("val_00001"), many.image("val_00001"))


def test_files_are_made_once(tmp_path):
    path = build(tmp_path).images["train_00000"]
    path.write_bytes(b"mine")
    assert build(tmp_path).images["train_00000"].read_bytes() == b"mine"
    assert visible(tmp_path) == ["v1-seed0-train24-val4-size48"]


def test_of_many_at_once_one_makes_the_files_and_the_others_wait(tmp_path, monkeypatch):
    """Each with a lock of its own, as processes have; what a killed one has left is no hindrance."""
    from dmtc.data import synthetic

    left = f".v1-seed0-train24-val4-size48.{'0' * 32}.part"
    (tmp_path / left / "images" / "train").mkdir(parents=True)
    real, drawn = synthetic._draw_part, []
    monkeypatch.setattr(synthetic, "_draw_part", lambda *arguments: (drawn.append(1), real(*arguments)))
    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: digest(build(tmp_path)), range(8)))
    assert len(digests) == 1
    assert len(drawn) == 2, "training and validation part, once"
    assert visible(tmp_path) == ["v1-seed0-train24-val4-size48"]


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr("dmtc.data.synthetic._write", fail)
    with pytest.raises(DataError, match=r"cannot be written there \(disk full\); set dataset\.root=DIR"):
        build(tmp_path)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("changes", [{"train_images": 0}, {"val_images": 0}, {"size": 31}])
def test_small_numbers_are_refused(tmp_path, changes):
    with pytest.raises(ConfigError, match="at least one training image"):
        build(tmp_path, **changes)


def test_damaged_cache_says_what_to_do(tmp_path):
    (build(tmp_path).images["train_00000"].parents[2] / "train.txt").unlink()
    with pytest.raises(DataError, match="delete the folder"):
        build(tmp_path)
