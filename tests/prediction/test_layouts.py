"""What test servers want: names, label ids, palettes."""

import numpy as np
import pytest
import torch
from PIL import Image

from dmtc.batches import Loader
from dmtc.core.errors import ConfigError, DataError
from dmtc.data import cityscapes, voc
from dmtc.data.augment import Augment
from dmtc.data.task import Task
from dmtc.prediction import Outputs
from dmtc.prediction.predicting import FilePredictor
from dmtc.prediction.sources import find_sources
from dmtc.tracking.progress import Progress

CITYSCAPES = Task(
    dataset="cityscapes",
    classes=tuple(cityscapes.CLASSES),
    palette=np.array(list(cityscapes.CLASSES.values()), np.uint8),
)
VOC = Task(dataset="voc", classes=voc.CLASSES, palette=voc.voc_palette(21))
CPU = torch.device("cpu")


def predict(folder, output, task, layout):
    """Each pixel's class is its red value."""
    outputs = Outputs(folder=output, task=task, kinds=[], opacity=0.5, layout=layout, existing="refuse")
    targets = outputs.targets(find_sources([str(folder)], output))
    augment = Augment(crop=[8, 8], scale=[1.0, 1.0], flip=0.0)
    one_hot = torch.eye(task.num_classes)

    def network(images):
        return one_hot[images[:, 0].long()].permute(0, 3, 1, 2) * 9

    FilePredictor(
        network,
        outputs,
        lambda dataset: Loader(dataset, augment, 0, CPU, "skip"),
        device=CPU,
        batch=2,
        upright=False,
        progress=Progress([], "off"),
    )(targets)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((2, len(values), 3), np.uint8)
    picture[..., 0] = values
    Image.fromarray(picture).save(path)


def test_cityscapes(tmp_path):
    save(tmp_path / "test/berlin/berlin_000000_000019_leftImg8bit.png", range(19))
    save(tmp_path / "test/munich/munich_000001_000019_leftImg8bit.png", [18, 0, 5])
    predict(tmp_path / "test", tmp_path / "out", CITYSCAPES, "cityscapes")
    written = sorted((tmp_path / "out").rglob("*.*"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "cityscapes/berlin_000000_000019_pred_labelIds.png",
        "cityscapes/munich_000001_000019_pred_labelIds.png",
    ]
    ids = Image.open(written[0])
    assert ids.mode == "L"
    assert np.asarray(ids)[0].tolist() == list(cityscapes.LABEL_IDS)
    assert np.asarray(Image.open(written[1]))[0].tolist() == [33, 7, 17]


def test_voc(tmp_path):
    save(tmp_path / "JPEGImages/2008_000006.png", range(21))
    predict(tmp_path / "JPEGImages", tmp_path / "out", VOC, "voc")
    mask = Image.open(tmp_path / "out/results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png")
    assert mask.mode == "P"
    assert np.asarray(mask)[0].tolist() == list(range(21))
    assert np.asarray(mask.convert("RGB"))[0].tolist() == voc.voc_palette(21).tolist()


def test_names_that_a_server_does_not_know_are_told_before_anything_is_written(tmp_path):
    save(tmp_path / "in/berlin_000000_000019_leftImg8bit.png", [0])
    save(tmp_path / "in/holiday.png", [0])
    with pytest.raises(DataError, match=r"1 of 2 inputs are not named like its test images: .*holiday\.png"):
        predict(tmp_path / "in", tmp_path / "out", CITYSCAPES, "cityscapes")
    (tmp_path / "in/holiday.png").unlink()
    save(tmp_path / "in/again/berlin_000000_000019.png", [0])
    with pytest.raises(DataError, match="several inputs stand for the same test image"):
        predict(tmp_path / "in", tmp_path / "out", CITYSCAPES, "cityscapes")
    (tmp_path / "in/clip.mp4").touch()
    with pytest.raises(DataError, match=r"clip\.mp4"):
        predict(tmp_path / "in", tmp_path / "out", CITYSCAPES, "cityscapes")
    assert not (tmp_path / "out").exists()


def test_networks_of_other_classes_are_refused(tmp_path):
    save(tmp_path / "in/2008_000006.png", [0])
    with pytest.raises(ConfigError, match=r"voc is for networks of its 21 classes .* but the run is on cityscapes"):
        predict(tmp_path / "in", tmp_path / "out", CITYSCAPES, "voc")
