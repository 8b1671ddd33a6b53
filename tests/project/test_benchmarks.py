"""The benchmarks still fit the library: their smallest works are done once. Nothing is timed."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # its files import each other
    return runpy.run_path(str(BENCHMARKS / "scaling.py"))


def test_reading_is_of_pictures_in_a_folder(scaling, tmp_path):
    scaling["reading"](tmp_path, images=4, side=48, crop=32)()
    assert len(list(tmp_path.glob("pictures-4-48/images/*.jpg"))) == 5  # one of them to score on


def test_labelling_fills_a_store(scaling, tmp_path):
    scaling["labelling"](tmp_path, images=8, side=41, classes=3)()
    assert len(list(tmp_path.glob("labels-*/*.zst"))) == 8
