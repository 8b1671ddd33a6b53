"""Values as the shell gave them, whatever Hydra makes of their letters; and errors of overrides in one line."""

import os
import random
from contextlib import suppress
from fnmatch import fnmatchcase

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import dmtc
from dmtc.config.compose import known_keys
from dmtc.config.overrides import NAMES as NAMED
from dmtc.config.overrides import PATHS, escaped, literal, quoted, translate
from dmtc.core.errors import ConfigError

NAMES = ["día", "数据", "data (1)", "run=3", "a#b", "[x]", "{y}", "it's", 'so "so"', "a;b", "a,b", "a$b", "${x}", "\\"]
NAMES += [
    "~tilde",
    "a b ",
    "null",
    "7",
    "true",
    "a\\",
    "\\'",
    "%&|<>?*!",
    "choice(1,2)",
    "-m",
    "x\ty",
    "a:b",
    "${oc.env:HOME}",
]


def value_of(override: str) -> object:
    """What Hydra and OmegaConf make of an override."""
    parsed = OverridesParser.create().parse_override(override)
    assert not parsed.is_sweep_override(), override
    return OmegaConf.to_container(OmegaConf.create({"value": parsed.value()}), resolve=True)["value"]


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_is_there_is_what_the_shell_gave(tmp_path, monkeypatch, name, swept):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for given in (name, str(tmp_path / name)):
        value = str(value_of(literal(f"dataset.root={given}", swept)))
        assert os.path.samefile(tmp_path / name, os.path.expanduser(value))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("[x]", "null", "~tilde", "${oc.env:HOME}")])
def test_a_path_that_is_not_there_yet_too(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert value_of(literal(f"hydra.run.dir={name}")) == name


def test_any_text_comes_back():
    letters = random.Random(0)
    for _ in range(3000):
        text = "".join(letters.choices("ab ~()=#[]{}';,$\\\"数é/:*?&|<>%@!+-0.\t\n", k=letters.randint(1, 9)))
        assert value_of(f"x={quoted(escaped(text))}") == text


def test_hydras_own_terms_still_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/data")
    assert value_of(literal("dataset.root=null")) is None
    assert value_of(literal("dataset.root=~/x")) == "/home/me/x"
    assert value_of(literal("dataset.root='/a b'")) == "/a b"
    assert value_of(literal("dataset.root=${oc.env:DATA}/a (1)")) == "/data/a (1)"
    assert value_of(literal("dataset.images=[a b,~/c, 'd,e',f#]")) == ["a b", "/home/me/c", "d,e", "f#"]
    assert value_of(literal("dataset.images=[]")) == []
    assert value_of(literal("dataset.classes=[a ${b},yes,7,é]")) == ["a ${b}", "yes", "7", "é"]
    assert literal("+dataset.root=a b") == "+dataset.root='a b'"
    assert literal("model.weights.a=a (1).pth") == "model.weights.a='a (1).pth'"
    for other in ("seed=1", "method=dmt,dmtc", "split.ratio=1/8", "dataset.augment.crop=[1,2]", "~logger", "--help"):
        assert literal(other) == other


def test_sweeps_over_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    assert literal("dataset.root=x y,z#", swept=True) == "dataset.root='x y','z#'"
    assert literal("dataset.root=choice(x,y)", swept=True) == "dataset.root=choice(x,y)"
    assert literal("dataset.images=[x,y],[z]", swept=True) == "dataset.images=['x','y'],['z']"
    assert literal("dataset.root=a,b", swept=True) == "dataset.root='a,b'"
    assert translate(["-m", "run=x,y"]) == ["-m", "run_dir='x','y'"]
    assert translate(["run=x,y"]) == ["run_dir='x,y'"]


def test_every_path_is_an_option():
    composed = [["dataset=folder"], ["dataset=cityscapes"], ["split=files"], ["job=report"], ["job=predict"]]
    composed += [["job=convert"], ["job=next"], ["logger=[wandb,mlflow]"]]
    known = {key for overrides in composed for key in known_keys(dmtc.compose(overrides))}
    known |= {"hydra.run.dir", "hydra.sweep.dir"}
    for one in (*PATHS, *(name for name in NAMED if not name.startswith(("logger", "job")))):
        assert any(fnmatchcase(key, one) for key in known), one


@pytest.mark.parametrize("name", ["数据 (1)", "a=b#c", "it's"])
def test_commands_take_such_folders(command, small, data_root, tmp_path, name):
    (tmp_path / name).symlink_to(data_root)
    rest = [one for one in small if not one.startswith("dataset.root=")]
    code, out, err = command("job=plan", *rest, f"dataset.root={tmp_path / name}", small_run=False)
    assert code == 0, err
    assert "r2-b" in out
    assert dmtc.compose([f"dataset.root={tmp_path / name}"]).dataset.root == str(tmp_path / name)


ODD = ["", "=", "+=3", "++", "~", "@", "a", "a=b=c", "+1=2", "seed=${", "seed=${seed}", "seed=${nothing}", "split=null"]
ODD += [
    "~split",
    "~job",
    "~run",
    "~seed",
    "job=null",
    "run.progress=7",
    "imports=abc",
    "imports=[..]",
    "tag=[1]",
    "seed@x=1",
]
ODD += ["+logger.x=1", "dataset.augment=null", "schedule.start=null", "model.backbone=3", "experiment=[a]", "hydra=3"]
ODD += [
    "hydra.run=null",
    "loss=[dmt",
    "seed=1e999",
    "seed=0x",
    "model_b=3",
    "+a.b",
]


@pytest.mark.sampled(15)
@pytest.mark.parametrize("override", ODD)
def test_odd_overrides_are_refused_in_one_line(command, tmp_path, override):
    code, out, err = command("job=plan", override, small_run=False)
    assert code == 2, out
    assert len(err.splitlines()) == 1, err
    assert err.startswith(("error: ", "usage: "))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
def test_random_overrides_are_refused_in_one_line(seed):
    letters = random.Random(seed)
    keys = [
        "seed",
        "loss",
        "split.ratio",
        "+x",
        "~loss",
        "model_b",
        "dataset.size",
        "hydra.x",
        "loss/mutual",
        "",
        "run",
    ]
    for _ in range(25):
        value = "".join(letters.choices("ab ~()=#[]{}';,$\\\"数/:@+-0.\n", k=letters.randint(0, 8)))
        override = f"{letters.choice(keys)}={value}" if letters.random() < 0.8 else value
        with suppress(ConfigError):  # and nothing else
            dmtc.engine.checks.settle(dmtc.compose([override]))
