"""What `predict` takes as an image, and how it says that it takes something else not."""

import numpy as np
import pytest
import torch
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.data.images import read_image
from dmtc.prediction.inputs import as_rgb


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (22, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def gray(image) -> np.ndarray:
    return image[..., 0]


KINDS = {
    "array": lambda image: image,
    "channels first": lambda image: image.transpose(2, 0, 1),
    "float": lambda image: image / 255,
    "half": lambda image: torch.from_numpy(image / 255).half(),
    "PIL": Image.fromarray,
    "PIL with transparency": lambda image: Image.fromarray(image).convert("RGBA"),
    "tensor": torch.from_numpy,
    "tensor with gradient": lambda image: torch.from_numpy(image / 255).permute(2, 0, 1).requires_grad_(),
    "bfloat16": lambda image: torch.from_numpy(image / 255).bfloat16(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_in_any_form(image, kind):
    got = as_rgb(KINDS[kind](image), read_image)
    assert (got.dtype, got.shape) == (np.uint8, image.shape)
    assert np.abs(got.astype(int) - image).max() <= (kind == "bfloat16")


@pytest.mark.parametrize("form", [(22, 30), (22, 30, 1), (1, 22, 30)])
def test_gray_becomes_three_equal_channels(gray, form):
    np.testing.assert_array_equal(as_rgb(gray.reshape(form), read_image), np.stack([gray] * 3, axis=-1))
    np.testing.assert_array_equal(as_rgb(Image.fromarray(gray), read_image), np.stack([gray] * 3, axis=-1))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda image: image.astype(np.uint16), "uint16 (22, 30, 3): scale its values"),
        (lambda image: image.astype(np.int64), "int64 (22, 30, 3)"),
        (lambda image: image.astype(float), "with values from 0 to 255: scale them to [0, 1]"),
        (lambda image: image / 127.5 - 1, "scale them to [0, 1]"),
        (lambda image: np.full((4, 4), np.nan), "from nan"),
        (lambda image: image[..., :2], "uint8 (22, 30, 2)"),
        (lambda image: image[0, 0], "uint8 (3,)"),
        (lambda image: image[:0], "uint8 (0, 30, 3)"),
        (lambda image: None, "NoneType"),
        (lambda image: {"image": image}, "dict"),
    ],
)
def test_anything_else_is_refused_in_one_line(image, wrong, told):
    with pytest.raises(DataError, match="predict takes a file, a PIL image") as error:
        as_rgb(wrong(image), read_image)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_predict_returns_what_it_was_given(finished, image, gray, tmp_path):
    mask = finished.predict(image)
    Image.fromarray(image).save(tmp_path / "image.png")
    for one in (str(tmp_path / "image.png"), tmp_path / "image.png", Image.fromarray(image), image / 255):
        np.testing.assert_array_equal(finished.predict(one), mask)
    mixed = finished.predict([tmp_path / "image.png", gray, torch.from_numpy(image[:10])])
    assert [one.shape for one in mixed] == [(22, 30), (22, 30), (10, 30)]
    np.testing.assert_array_equal(mixed[0], mask)
    batch = torch.from_numpy(np.stack([image, image])).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(finished.predict(batch), np.stack([mask, mask]))
    assert finished.predict([]) == []
    assert [one.label.shape for one in finished.prediction(batch)] == [(22, 30), (22, 30)]
    with pytest.raises(DataError, match=r"nowhere\.png"):
        finished.predict(tmp_path / "nowhere.png")


def test_files_are_reduced_as_in_training(finished, image, tmp_path, monkeypatch):
    """Like `job=predict`: networks of a data set that is read at half size see files at half size."""
    from dataclasses import replace

    Image.fromarray(image).save(tmp_path / "image.png")
    halved = finished.predict(image, scales=[0.5])
    monkeypatch.setattr(type(finished), "task", replace(finished.task, reduction=2))
    np.testing.assert_array_equal(finished.predict(tmp_path / "image.png"), halved)
