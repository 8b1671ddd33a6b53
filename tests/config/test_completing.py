"""A few settings in a dictionary become the config that the command line makes of them."""

import pytest

import dmtc
from dmtc.config.completing import completed, is_partial
from dmtc.config.compose import resolved
from dmtc.core.errors import ConfigError


def plain(overrides):
    return resolved(dmtc.compose(overrides))


@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        ({}, []),
        ({"method": "dmt", "seed": 3}, ["method=dmt", "seed=3"]),
        ({"split": {"ratio": "1/20"}}, ["split.ratio=1/20"]),
        ({"split.ratio": "1/20"}, ["split.ratio=1/20"]),
        ({"model": {"backbone": "resnet50"}}, ["model/backbone=resnet50"]),
        ({"loss/mutual": "flip"}, ["loss/mutual=flip"]),
        ({"loss": {"gamma": 3.0}}, ["loss.gamma=3.0"]),
        ({"dataset": {"name": "voc", "root": "x"}}, ["dataset=voc", "dataset.root=x"]),
        ({"schedule": {"rounds": {"label_ratios": (0.5, 1.0)}}}, ["schedule.rounds.label_ratios=[0.5,1.0]"]),
    ],
)
def test_as_on_the_command_line(settings, overrides):
    assert is_partial(settings)
    assert resolved(completed(settings)) == plain(overrides)


def test_texts_mean_themselves(tmp_path):
    config = resolved(completed({"dataset": "folder", "dataset.root": tmp_path / "a ${b}", "imports": ["${c}"]}))
    assert (config["dataset"]["root"], config["imports"]) == (str(tmp_path / "a ${b}"), ["${c}"])


def test_a_whole_config_is_left_alone():
    assert not is_partial(plain(["method=dmt"]))


@pytest.mark.parametrize(
    ("cfg", "told"),
    [
        ("method=dmt", r'a list of overrides, such as \["method=dmt"\]'),
        ([3], "a list of overrides"),
        ({"methd": "dmt"}, "methd: dmtc has no such setting. Did you mean method"),
        ({"method": "dmtt"}, "Did you mean method=dmt"),
        ({"split": {"ration": 3}}, "ration"),
        ({3: 4}, "3: the keys of a config are names"),
    ],
)
def test_train_refuses_what_it_cannot_read(cfg, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        dmtc.train(cfg, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_takes_overrides_and_settings(finished, small, tmp_path):
    """Folders of a finished run: nothing is trained, but settings that differ would be refused."""
    assert dmtc.train(small, finished.folder.path).results == finished.results
    settings = {**dict(one.split("=", 1) for one in small), "model.backbone.width": 8}
    with pytest.raises(ConfigError):
        dmtc.train(settings | {"seed": 1}, finished.folder.path)
