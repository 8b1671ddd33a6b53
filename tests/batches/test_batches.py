import dataclasses
import threading
import time

import numpy as np
import pytest
import torch

import dmtc
from dmtc.batches import SUBSTITUTES, CropRequest, ImageRequest, Loader, Reader, training_requests
from dmtc.batches.ahead import one_ahead
from dmtc.batches.by_size import group_by_size
from dmtc.batches.loader import _collate
from dmtc.core.errors import DataError
from dmtc.core.types import Batch
from dmtc.data.augment import Augment
from dmtc.data.dataset import Dataset
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.pseudo import LEVELS, PseudoLabelStore
from dmtc.schedule import Phase

PHASE = Phase("r1-a", "rounds", "a", "r0-a", "r0-b", 0.5, 7, 0.1, 1, 3, 1)


@pytest.fixture
def components(small) -> Components:
    return Components(settle(dmtc.compose(small)))


@pytest.fixture
def pseudo_labels(components, tmp_path):
    """Predictions for every unlabelled image whose value tells the image: its number in the split."""
    store = PseudoLabelStore(tmp_path / "store")
    for number, id in enumerate(components.split.unlabelled):
        size = components.dataset.image(id).shape[:2]
        store.write(id, np.full(size, number % 7, np.uint8), np.full(size, 700, np.uint16))
    histogram = np.zeros((7, LEVELS), np.int64)
    histogram[:, 700] = 1
    store.finish(histogram)
    return store.select(1.0)


def loader(components: Components, workers: int) -> Loader:
    return Loader(components.dataset, components.augment, workers, torch.device("cpu"))


def test_batches_do_not_depend_on_the_number_of_workers(components, pseudo_labels):
    def batches(workers):
        requests = training_requests(PHASE, components.split.labelled, components.split.unlabelled, pseudo_labels, 0)
        return list(loader(components, workers).crops(requests))

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) == PHASE.steps
    for one, other in zip(alone, shared, strict=True):
        assert one.ids == other.ids
        for name in ("image", "label", "confidence", "is_pseudo"):
            assert getattr(one, name).equal(getattr(other, name))


def test_what_a_batch_holds(components, pseudo_labels):
    requests = training_requests(PHASE, components.split.labelled, components.split.unlabelled, pseudo_labels, 0)
    batch = next(loader(components, 0).crops(requests))
    assert batch.image.shape == (4, 3, 32, 32)
    assert batch.image.dtype == torch.uint8
    assert batch.label.dtype == torch.int64
    assert batch.is_pseudo.tolist() == [True, True, True, False]
    assert set(batch.ids[:3]) <= set(components.split.unlabelled)
    assert batch.ids[3] in components.split.labelled
    real = batch.label[3] != 255
    assert (batch.confidence[3][real] == 1).all()
    for i, id in enumerate(batch.ids[:3]):
        assert set(batch.label[i].unique().tolist()) <= {components.split.unlabelled.index(id) % 7, 255}
        assert batch.confidence[i].max() < 1


def test_a_crop_holds_what_the_store_selects(components, pseudo_labels):
    """Selection happens on the crop; it must be that of the whole image."""
    id = components.split.unlabelled[0]
    store, size = PseudoLabelStore(pseudo_labels.folder), components.dataset.image(id).shape[:2]
    rng = np.random.default_rng(0)
    store.write(id, rng.integers(0, 7, size, np.uint8), rng.integers(0, LEVELS, size).astype(np.uint16))
    some = dataclasses.replace(pseudo_labels, thresholds=(0, 500, 1000, 2000, 3000, 4000, LEVELS))
    padded = Augment(crop=[size[0] + 5, size[1] + 7], scale=[1.0, 1.0], flip=0.0)
    reading = Loader(components.dataset, padded, 0, torch.device("cpu"))
    (batch,) = reading.crops([[CropRequest(id, some, (0,)), CropRequest(components.split.labelled[0], None, (0,))]])
    label, confidence = some.read(id)
    assert (label == 255).any()
    np.testing.assert_array_equal(batch.label[0, : size[0], : size[1]].numpy(), label)
    np.testing.assert_array_equal(batch.confidence[0, : size[0], : size[1]].numpy(), confidence)
    assert (batch.label[0, size[0] :] == 255).all()
    assert (batch.confidence[0, size[0] :] == 0).all()
    assert batch.confidence.dtype == torch.float32
    assert (batch.confidence[1] == 1).all()


def test_what_travels_between_processes_is_small(components, pseudo_labels):
    """A pixel of a crop: three bytes of color, one of label, two of confidence; and nothing that nobody asked for."""
    reader = Reader(components.dataset, components.augment)
    pseudo = [CropRequest(id, pseudo_labels, (0,)) for id in components.split.unlabelled[:3]]
    labelled = [CropRequest(id, None, (0,)) for id in components.split.labelled[:3]]
    whole = [ImageRequest(id, with_mask=False) for id in components.split.unlabelled[:3]]
    for requests, pixels, bytes_a_pixel in ((pseudo, 32 * 32, 6), (labelled, 32 * 32, 4), (whole, 48 * 48, 3)):
        (batch,) = _collate([reader[request] for request in requests]).batches
        tensors = (batch.image, batch.label, batch.confidence, batch.is_pseudo)
        assert sum(tensor.nbytes for tensor in tensors) <= 3 * (pixels * bytes_a_pixel + 3)


def test_one_pool_serves_crops_and_whole_images_in_turn(components):
    pool = loader(components, 2)
    requests = list(training_requests(PHASE, components.split.labelled, components.split.unlabelled, None, 0))
    first = [batch.ids for batch in pool.crops(requests)]
    whole = [batch.ids for batch in pool.images(components.dataset.val, 4, with_mask=True)]
    again = [batch.ids for batch in pool.crops(requests)]
    assert first == again
    assert [id for ids in whole for id in ids] == list(components.dataset.val)


@pytest.mark.parametrize("workers", [0, 2])
def test_scoring_in_the_middle_of_a_phase_takes_nothing_from_it(components, workers):
    """The pool had read ahead; after the other pass it goes on with the batch that is due."""
    pool = loader(components, workers)
    requests = list(training_requests(PHASE, components.split.labelled, components.split.unlabelled, None, 0))
    seen = []
    for step, batch in enumerate(pool.crops(iter(requests))):
        seen.append(batch.ids)
        if step in (1, 2, PHASE.steps - 1):
            whole = [id for whole in pool.images(components.dataset.val, 4, with_mask=True) for id in whole.ids]
            assert whole == list(components.dataset.val)
    assert seen == [tuple(request.id for request in step) for step in requests]


def test_whole_images_are_read_one_batch_ahead_in_a_thread(components, monkeypatch):
    """While the caller has a batch, the next is read; no more than that, in order, and nothing after the end."""
    read, threads, image = [], set(), Dataset.image

    def note(self, id):
        threads.add(threading.current_thread())
        read.append(id)
        return image(self, id)

    monkeypatch.setattr(Dataset, "image", note)
    ids = list(components.dataset.val)
    batches = loader(components, 0).images(ids, 1, with_mask=False)
    assert next(batches).ids == (ids[0],)
    for _ in range(1000):
        if len(read) >= 2:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert read == ids[:2]
    batches.close()
    assert read == ids[:2]
    assert threading.main_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)


def test_an_error_comes_where_the_item_would_have():
    def items():
        yield None
        raise DataError("torn.png")

    ahead = one_ahead(items())
    assert next(ahead) is None
    with pytest.raises(DataError, match="torn"):
        next(ahead)


def test_requests_can_begin_at_any_step(components, pseudo_labels):
    arguments = (PHASE, components.split.labelled, components.split.unlabelled, pseudo_labels, 0)
    assert list(training_requests(*arguments, start=4)) == list(training_requests(*arguments))[4:]


def test_every_image_once_an_epoch_in_a_new_order(components):
    ids = [f"i{i}" for i in range(10)]
    phase = Phase("r0-a", "start", "a", None, None, None, 10, 0.1, 3, 0, 1)
    seen = [r.id for step in training_requests(phase, ids, (), None, seed=0) for r in step]
    epochs = [seen[i : i + 10] for i in range(0, 30, 10)]
    assert all(sorted(epoch) == ids for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_requests_are_addressed_by_seed_and_phase():
    ids = [f"i{i}" for i in range(10)]

    def requests(seed, name):
        phase = Phase(name, "start", "a", None, None, None, 4, 0.1, 3, 0, 1)
        return list(training_requests(phase, ids, (), None, seed))

    assert requests(0, "r0-a") == requests(0, "r0-a")
    assert requests(0, "r0-a") != requests(1, "r0-a")
    assert requests(0, "r0-a") != requests(0, "r0-b")
    addresses = [request.address for step in requests(0, "r0-a") for request in step]
    assert len(set(addresses)) == len(addresses), "two crops must never share their random choices"


def test_labelling_and_pseudo_labelled_training_open_no_mask(components, pseudo_labels, monkeypatch):
    opened, mask = [], Dataset.mask
    monkeypatch.setattr(Dataset, "mask", lambda self, id: opened.append(id) or mask(self, id))
    for batch in loader(components, 0).images(components.split.unlabelled, 4, with_mask=False):
        assert batch.label.numel() == 0
    requests = [[CropRequest(id, pseudo_labels, (0, id)) for id in components.split.unlabelled]]
    list(loader(components, 0).crops(requests))
    unlabelled = [CropRequest(id, None, (0, id), labelled=False) for id in components.split.unlabelled]
    for batch in loader(components, 0).crops([unlabelled]):
        assert not batch.label.any() or set(batch.label.unique().tolist()) == {0, 255}, "padding alone"
    assert opened == []
    list(loader(components, 0).crops([[CropRequest(components.split.labelled[0], None, (0,))]]))
    assert opened == [components.split.labelled[0]], "it would have been seen"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_told_in_one_line_from_a_workers_process_too(components, workers, tmp_path):
    dataset = dataclasses.replace(
        components.dataset, masks={id: tmp_path / "gone.png" for id in components.dataset.masks}
    )
    broken = Loader(dataset, components.augment, workers, torch.device("cpu"))
    with pytest.raises(DataError) as caught:
        list(broken.images(dataset.val, 2, with_mask=True))
    assert "gone.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_different_sizes_come_in_batches_of_one_size(components, monkeypatch):
    sizes = {id: (20 + 4 * (i // 2), 30) for i, id in enumerate(components.dataset.val)}
    monkeypatch.setattr(Dataset, "image", lambda self, id: np.zeros((*sizes[id], 3), np.uint8))
    batches = list(loader(components, 0).images(components.dataset.val, 5, with_mask=False))
    assert [len(batch.ids) for batch in batches] == [2, 2, 2]
    assert [id for batch in batches for id in batch.ids] == list(components.dataset.val)


def of_width(width: int, *ids: str) -> Batch:
    shape = (len(ids), 4, width)
    image = torch.tensor([int(id) for id in ids], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, width)
    return Batch(image, torch.zeros(shape).long(), torch.ones(shape), torch.zeros(len(ids), dtype=torch.bool), ids)


def test_images_of_one_size_find_together():
    mixed = [of_width(5, "0"), of_width(6, "1", "2"), of_width(5, "3", "4"), of_width(5, "5"), of_width(6, "6", "7")]
    batches = list(group_by_size(iter(mixed), 3))
    assert [batch.ids for batch in batches] == [("0", "3", "4"), ("1", "2", "6"), ("5",), ("7",)]
    for batch in batches:
        assert batch.image[:, 0, 0, 0].tolist() == [int(id) for id in batch.ids]
        assert len(batch.label) == len(batch.confidence) == len(batch.is_pseudo) == len(batch.ids)


def test_full_batches_are_handed_on_at_once():
    batches = iter([of_width(5, "0", "1"), of_width(5, "2", "3")])
    assert next(group_by_size(batches, 2)).ids == ("0", "1")
    assert next(batches).ids == ("2", "3"), "nothing was read ahead"


def test_images_of_a_seldom_size_do_not_wait_for_the_end():
    """A hundred sizes: what waits is bounded, and nothing is lost."""
    came = 0

    def stream():
        nonlocal came
        for number in range(200):
            came += 1
            yield of_width(5 + number % 100, str(number))

    gone, most = [], 0
    for batch in group_by_size(stream(), 4):
        gone += batch.ids
        most = max(most, came - len(gone))
    assert sorted(gone, key=int) == [str(number) for number in range(200)]
    assert most <= 4 * 4


def with_broken(components: Components, ids, tmp_path) -> Dataset:
    images = {id: tmp_path / f"{id}.gone" if id in ids else path for id, path in components.dataset.images.items()}
    return dataclasses.replace(components.dataset, images=images)


@pytest.mark.parametrize("workers", [0, 2])
def test_faulty_training_images_are_skipped_and_counted(components, pseudo_labels, tmp_path, workers, caplog):
    """The next images of the order take their places, whatever process reads them; everything else stays."""
    broken = {components.split.labelled[0], *components.split.unlabelled[:5]}
    dataset = with_broken(components, broken, tmp_path)

    def requests():
        return training_requests(PHASE, components.split.labelled, components.split.unlabelled, pseudo_labels, 0)

    skipping = Loader(dataset, components.augment, workers, torch.device("cpu"), "skip")
    batches = list(skipping.crops(requests()))
    whole = list(loader(components, 0).crops(requests()))
    expected, skipped = [], {}
    for step in requests():
        expected.append([])
        for request in step:
            tried = [request.id, *request.substitutes]
            place = next(i for i, id in enumerate(tried) if id not in broken)
            expected[-1].append(tried[place])
            for id in tried[:place]:
                skipped[id] = skipped.get(id, 0) + 1
    assert [list(batch.ids) for batch in batches] == expected
    assert broken - set(skipped) == set(), "each of them has its turn"
    for batch, as_before in zip(batches, whole, strict=True):
        for place, id in enumerate(as_before.ids):
            if id not in broken:
                assert batch.image[place].equal(as_before.image[place])
                assert batch.label[place].equal(as_before.label[place])
    assert skipping.take_skipped() == skipped
    assert skipping.take_skipped() == {}
    assert sorted(record.message.split(": ")[1].split("/")[-1] for record in caplog.records) == sorted(
        f"{id}.gone" for id in broken
    ), "each file is told once"


def test_substitutes_are_the_next_ones_of_the_epoch():
    ids = [f"i{i}" for i in range(30)]
    phase = Phase("r0-a", "start", "a", None, None, None, 10, 0.1, 3, 0, 1)
    requests = [request for step in training_requests(phase, ids, (), None, seed=0) for request in step]
    order = [request.id for request in requests]
    assert requests[0].substitutes == tuple(order[1 : 1 + SUBSTITUTES])
    assert requests[-1].substitutes == tuple(order[:SUBSTITUTES])
    few = [request for step in training_requests(phase, ids[:2], (), None, seed=0) for request in step]
    assert all({request.id, *request.substitutes} == {"i0", "i1"} for request in few)


def test_skipping_ends_where_nothing_works(components, tmp_path):
    dataset = with_broken(components, set(components.split.labelled), tmp_path)
    skipping = Loader(dataset, components.augment, 0, torch.device("cpu"), "skip")
    requests = training_requests(
        dataclasses.replace(PHASE, labelled_batch=1, pseudo_batch=0), components.split.labelled, (), None, 0
    )
    with pytest.raises(DataError, match=r"3 images in a row cannot be used despite dataset.on_error=skip: .*gone"):
        list(skipping.crops(requests))


def test_validation_images_and_pseudo_labels_always_stop(components, pseudo_labels, tmp_path):
    """A score would be of other images than it says; and what the run has written itself is no fault of the data."""
    first = components.dataset.val[0]
    skipping = Loader(
        with_broken(components, {first, components.split.unlabelled[0]}, tmp_path),
        components.augment,
        0,
        torch.device("cpu"),
        "skip",
    )
    with pytest.raises(DataError, match=f"{first}.gone"):
        list(skipping.images(components.dataset.val, 2, with_mask=True))
    labelled = [id for batch in skipping.images(components.split.unlabelled, 4, with_mask=False) for id in batch.ids]
    assert labelled == list(components.split.unlabelled[1:])
    next(pseudo_labels.folder.glob(f"{components.split.unlabelled[1]}*.zst")).unlink()
    with pytest.raises(DataError, match="pseudo-label file"):
        list(skipping.crops([[CropRequest(components.split.unlabelled[1], pseudo_labels, (0,), ("x",))]]))


def test_a_pseudo_label_of_another_size_is_refused(components, pseudo_labels):
    id = components.split.unlabelled[0]
    store = PseudoLabelStore(pseudo_labels.folder)
    store.write(id, np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint16))
    with pytest.raises(DataError, match=r"48x48 pixels but its pseudo-label is 5x5"):
        list(loader(components, 0).crops([[CropRequest(id, pseudo_labels, (0,))]]))
