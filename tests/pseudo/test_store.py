import json
import os
import threading
import time

import numpy as np
import pytest
import torch

from dmtc.core.errors import DataError
from dmtc.core.levels import level_of
from dmtc.pseudo import LEVELS, PseudoLabelStore, label_images, level_confidence
from dmtc.pseudo.labelling import _WRITERS


def random_prediction(seed: int, size=(13, 17)):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 5, size, np.uint8), generator.integers(0, LEVELS, size).astype(np.uint16)


def test_what_is_written_is_read(tmp_path):
    store = PseudoLabelStore(tmp_path / "store")
    ids = ["a", "sub/a", "sub_a", "../../outside", "ü/Ö.x", "x" * 300]
    for i, id in enumerate(ids):
        store.write(id, *random_prediction(i))
    for i, id in enumerate(ids):
        for read, written in zip(store.read(id), random_prediction(i), strict=True):
            np.testing.assert_array_equal(read, written)
            assert read.dtype == written.dtype
    assert {path.parent for path in tmp_path.rglob("*.zst")} == {tmp_path / "store"}


def test_selection_happens_when_reading(tmp_path):
    store = PseudoLabelStore(tmp_path)
    label, level = random_prediction(0, (40, 40))
    store.write("x", label, level)
    histogram = np.zeros((5, LEVELS), np.int64)
    np.add.at(histogram, (label, level), 1)
    store.finish(histogram, images=1, seconds=0.1)
    shares = []
    for ratio in (0.2, 0.6, 1.0):
        kept, confidence = store.select(ratio).read("x")
        assert confidence.dtype == np.float32
        np.testing.assert_array_equal(confidence, level_confidence()[level])
        np.testing.assert_array_equal(kept[kept != 255], label[kept != 255])
        # Of every class it is the surest that are kept.
        for c in range(5):
            mine = label == c
            if (mine & (kept == 255)).any():
                assert level[mine & (kept == c)].min() > level[mine & (kept == 255)].max()
        shares.append((kept != 255).mean())
    assert shares[0] == pytest.approx(0.2, abs=0.02)
    assert shares[2] == 1


def test_incomplete_and_damaged_stores(tmp_path):
    store = PseudoLabelStore(tmp_path)
    assert not store.is_complete()
    with pytest.raises(DataError, match="missing or damaged"):
        store.read("x")
    store.write("x", *random_prediction(0))
    path = next(tmp_path.glob("*.zst"))
    whole = path.read_bytes()
    for damaged in (b"", b"no prediction", whole[:-1], whole[:20], whole[:100] + b"x" + whole[101:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"x-\w+\.zst is missing or damaged; delete its folder and resume"):
            store.read("x")


WRONG_FACTS = [{"images": None}, {"seconds": "1"}, {"bytes": -1}, {"images": [1]}, {"sha256": 1}, []]
MISSING_FACTS = [{"images": ...}, {"bytes": ...}, {"sha256": ...}]


@pytest.mark.parametrize("change", [*WRONG_FACTS, *MISSING_FACTS])
def test_facts_of_another_kind_are_no_complete_store(tmp_path, change):
    store = PseudoLabelStore(tmp_path)
    store.write("x", *random_prediction(0))
    store.finish(np.ones((5, LEVELS), np.int64), images=1, seconds=0.5, bytes=store.size_bytes())
    assert store.is_complete()
    facts = store.facts() | change if isinstance(change, dict) else change
    left = {key: value for key, value in facts.items() if value is not ...} if isinstance(facts, dict) else facts
    (tmp_path / "store.json").write_text(json.dumps(left))
    assert not store.is_complete(), "it is labelled again"


@pytest.mark.parametrize("array", [np.ones((5, LEVELS)), np.ones((5, LEVELS - 1), int), np.ones(LEVELS, int)])
def test_arrays_of_another_kind_are_no_histogram(tmp_path, array):
    store = PseudoLabelStore(tmp_path)
    store.finish(array, images=1, seconds=0.5, bytes=0)
    with pytest.raises(DataError, match="it holds no histogram"):
        store.histogram()
    assert not store.is_complete()


@pytest.mark.parametrize("name", ["store.json", "histogram.npy", "x"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path, name):
    store = PseudoLabelStore(tmp_path)
    store.write("x", *random_prediction(0))
    store.finish(np.ones((5, LEVELS), np.int64), images=1, seconds=0.5, bytes=store.size_bytes())
    (path,) = tmp_path.glob(f"{name}*")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="missing or damaged"):
        store.read("x") if name == "x" else store.facts() if name == "store.json" else store.histogram()
    assert not store.is_complete()


def test_labelling_pass(tmp_path):
    generator = torch.Generator().manual_seed(0)
    logits = {f"image{i}": torch.randn(4, 6, 5 + i, generator=generator) for i in range(5)}
    ids = list(logits)
    queue = [[ids[0]], [ids[1]], [ids[2]], [ids[3]], [ids[4]]]
    passes = []

    def predict(images):
        passes.append(1)
        return logits[ids[len(passes) - 1]][None]

    store = PseudoLabelStore(tmp_path / "s")
    done = []
    batches = ((names, torch.zeros(1, 3, 2, 2, dtype=torch.uint8)) for names in queue)
    label_images(predict, batches, store, 4, done.append)
    assert len(passes) == len(ids), "one forward pass an image"
    assert sum(done) == store.facts()["images"] == 5
    assert store.histogram().sum() == sum(6 * (5 + i) for i in range(5))
    for id, value in logits.items():
        label, level = store.read(id)
        np.testing.assert_array_equal(label, value.argmax(0).numpy())
        expected = level_of(torch.logit(value.double().softmax(0).amax(0))).numpy()
        assert np.abs(level.astype(int) - expected).max() <= 1


def test_writing_is_beside_the_main_thread_and_what_waits_for_it_is_bounded(tmp_path):
    """Memory must not grow with the number of images, however slow the disk is."""
    taken, written, writers, most = 0, 0, set(), 0

    class SlowStore(PseudoLabelStore):
        def write(self, id, label, level):
            nonlocal written
            time.sleep(0.002)
            writers.add(threading.get_ident())
            super().write(id, label, level)
            written += 1

    def batches():
        nonlocal taken, most
        for number in range(60):
            taken += 1
            most = max(most, taken - written)
            yield [str(number)], torch.zeros(1, 3, 2, 2, dtype=torch.uint8)

    store = SlowStore(tmp_path)
    label_images(lambda images: torch.zeros(len(images), 3, 6, 5), batches(), store, 3)
    assert written == store.facts()["images"] == 60
    assert threading.get_ident() not in writers
    assert most <= 2 * _WRITERS + 2


def test_a_disk_that_fails_is_told(tmp_path):
    class FullStore(PseudoLabelStore):
        def write(self, id, label, level):
            raise OSError(28, "No space left on device")

    store = FullStore(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        label_images(lambda images: torch.zeros(1, 3, 2, 2), [(["x"], torch.zeros(1, 3, 2, 2))], store, 3)
    assert not store.is_complete()


def test_a_histogram_of_objects_is_never_unpickled(tmp_path):
    """Unpickling runs code of whoever has written the file."""
    ran = []

    class Bomb:
        def __reduce__(self):
            return ran.append, (1,)

    np.save(tmp_path / "histogram.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="histogram"):
        PseudoLabelStore(tmp_path).histogram()
    assert ran == []
