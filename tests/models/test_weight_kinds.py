"""Files that hold no weights, or hold them otherwise than their names say."""

import argparse
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from dmtc.core.errors import WeightsError
from dmtc.models.weights.files import read_weights

WEIGHTS = {"w": torch.zeros(2)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><title>Virus scan warning</title>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (b"", "it is empty"),
        (b'{"error": "gated"}', "it is text"),
        (b"\x1f\x8b123", "unpack it first"),
        (b"hello world", "not written by torch.save or safetensors"),
    ],
)
def test_what_is_no_file_of_weights_is_called_what_it_is(tmp_path, content, told):
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=told) as caught:
            read_weights(path)
        assert "weights_only" not in str(caught.value)
        assert str(caught.value).isprintable()


def test_content_counts_and_not_the_name(tmp_path):
    safetensors.torch.save_file(WEIGHTS, tmp_path / "a.pth")
    torch.save(WEIGHTS, tmp_path / "b.safetensors")
    torch.save({"state_dict": WEIGHTS, "best": np.float64(0.5), "all": np.zeros(2)}, tmp_path / "c.pth")
    for name in ("a.pth", "b.safetensors", "c.pth"):
        assert list(read_weights(tmp_path / name)) == ["w"]


def test_objects_cut_files_pipes_and_folders(tmp_path):
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace()}, tmp_path / "objects.pth")
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "model.pth")
    whole = (tmp_path / "objects.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    told = {"objects": "argparse.Namespace", "model": "a program's objects", "cut": "cut off or damaged"}
    told |= {"pipe": "is a pipe", "folder": "is a folder"}
    for name, text in told.items():
        with pytest.raises(WeightsError, match=text) as caught:
            read_weights(tmp_path / f"{name}.pth")
        assert "weights_only" not in str(caught.value)
        assert str(caught.value).isprintable()
