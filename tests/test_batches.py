import dataclasses

import numpy as np
import pytest
import torch

import dmtc
from dmtc.assembly import Assembly
from dmtc.batches import CropRequest, Loader, training_requests
from dmtc.config import settle
from dmtc.data.dataset import Dataset
from dmtc.errors import DataError
from dmtc.pseudo import LEVELS, PseudoLabelStore
from dmtc.schedule import Phase

PHASE = Phase("r1-a", "rounds", "a", "r0-a", "r0-b", 0.5, 7, 0.1, 1, 3, 1)


@pytest.fixture
def parts(small) -> Assembly:
    return Assembly(settle(dmtc.compose(small)))


@pytest.fixture
def pseudo_labels(parts, tmp_path):
    """Predictions for every unlabelled image whose value tells the image: its number in the split."""
    store = PseudoLabelStore(tmp_path / "store")
    for number, id in enumerate(parts.split.unlabelled):
        size = parts.dataset.image(id).shape[:2]
        store.write(id, np.full(size, number % 7, np.uint8), np.full(size, 700, np.uint16))
    histogram = np.zeros((7, LEVELS), np.int64)
    histogram[:, 700] = 1
    store.finish(histogram)
    return store.select(1.0)


def loader(parts: Assembly, workers: int) -> Loader:
    return Loader(parts.dataset, parts.augment, workers, torch.device("cpu"))


def test_batches_do_not_depend_on_the_number_of_workers(parts, pseudo_labels):
    def batches(workers):
        requests = training_requests(PHASE, parts.split.labelled, parts.split.unlabelled, pseudo_labels, 0)
        return list(loader(parts, workers).crops(requests))

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) == PHASE.steps
    for one, other in zip(alone, shared, strict=True):
        assert one.ids == other.ids
        for name in ("image", "label", "confidence", "is_pseudo"):
            assert getattr(one, name).equal(getattr(other, name))


def test_what_a_batch_holds(parts, pseudo_labels):
    requests = training_requests(PHASE, parts.split.labelled, parts.split.unlabelled, pseudo_labels, 0)
    batch = next(loader(parts, 0).crops(requests))
    assert batch.image.shape == (4, 3, 32, 32)
    assert batch.image.dtype == torch.uint8
    assert batch.label.dtype == torch.int64
    assert batch.is_pseudo.tolist() == [True, True, True, False]
    assert set(batch.ids[:3]) <= set(parts.split.unlabelled)
    assert batch.ids[3] in parts.split.labelled
    real = batch.label[3] != 255
    assert (batch.confidence[3][real] == 1).all()
    for i, id in enumerate(batch.ids[:3]):
        assert set(batch.label[i].unique().tolist()) <= {parts.split.unlabelled.index(id) % 7, 255}
        assert batch.confidence[i].max() < 1


def test_one_pool_serves_crops_and_whole_images_in_turn(parts):
    pool = loader(parts, 2)
    requests = list(training_requests(PHASE, parts.split.labelled, parts.split.unlabelled, None, 0))
    first = [batch.ids for batch in pool.crops(requests)]
    whole = [batch.ids for batch in pool.images(parts.dataset.val, 4, with_mask=True)]
    again = [batch.ids for batch in pool.crops(requests)]
    assert first == again
    assert [id for ids in whole for id in ids] == list(parts.dataset.val)


def test_every_image_once_an_epoch_in_a_new_order(parts):
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


def test_labelling_and_pseudo_labelled_training_open_no_mask(parts, pseudo_labels, monkeypatch):
    opened = []
    monkeypatch.setattr(Dataset, "mask", lambda self, id: opened.append(id))
    for batch in loader(parts, 0).images(parts.split.unlabelled, 4, with_mask=False):
        assert (batch.label == 255).all()
    requests = [[CropRequest(id, pseudo_labels, (0, id)) for id in parts.split.unlabelled]]
    list(loader(parts, 0).crops(requests))
    assert opened == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_told_in_one_line_from_a_workers_process_too(parts, workers, tmp_path):
    dataset = dataclasses.replace(parts.dataset, masks={id: tmp_path / "gone.png" for id in parts.dataset.masks})
    broken = Loader(dataset, parts.augment, workers, torch.device("cpu"))
    with pytest.raises(DataError) as caught:
        list(broken.images(dataset.val, 2, with_mask=True))
    assert "gone.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_different_sizes_come_in_batches_of_one_size(parts, monkeypatch):
    sizes = {id: (20 + 4 * (i // 2), 30) for i, id in enumerate(parts.dataset.val)}
    monkeypatch.setattr(Dataset, "image", lambda self, id: np.zeros((*sizes[id], 3), np.uint8))
    batches = list(loader(parts, 0).images(parts.dataset.val, 5, with_mask=False))
    assert [len(batch.ids) for batch in batches] == [2, 2, 1, 1]
    assert [id for batch in batches for id in batch.ids] == list(parts.dataset.val)
