import inspect
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import dmtc
from dmtc.core.registry import argument_faults
from dmtc.data import DATASETS, Augment
from registered import own_names

FILES = sorted((Path(__file__).parents[2] / "conf" / "dataset").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_yaml_keys_equal_the_signature(path):
    assert path.read_text().startswith("# @package _global_\n")
    spec = OmegaConf.to_container(dmtc.compose([f"dataset={path.stem}"]).dataset)
    assert spec["name"] == path.stem
    augment = spec.pop("augment")
    assert spec.pop("on_error") == "stop"
    assert DATASETS.faults(spec, "dataset") == []
    parameters = inspect.signature(DATASETS.builder(path.stem)).parameters.keys()
    assert spec.keys() - {"name"} == parameters - DATASETS.runtime
    assert argument_faults(Augment, augment, "dataset.augment") == []
    Augment(**augment)


AUGMENTS = sorted((Path(__file__).parents[2] / "conf" / "augment").glob("*.yaml"))


@pytest.mark.parametrize("path", AUGMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("dataset", ["synthetic", "folder"])
def test_augmentation_is_a_choice_beside_the_data_set(path, dataset):
    """The size of the crop stays the data set's; what the choice says comes from it."""
    own = dmtc.compose([f"dataset={dataset}"]).dataset.augment
    chosen = dmtc.compose([f"dataset={dataset}", f"augment={path.stem}"]).dataset.augment
    assert chosen.crop == own.crop
    assert chosen.scale == OmegaConf.load(path).scale
    Augment(**OmegaConf.to_container(chosen))


def test_every_data_set_has_a_yaml():
    assert own_names(DATASETS) == {path.stem for path in FILES}


@pytest.mark.parametrize("name", DATASETS.names())
def test_builders_have_no_defaults_and_only_keywords(name):
    for key, parameter in inspect.signature(DATASETS.builder(name)).parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is inspect.Parameter.empty or key in DATASETS.runtime
