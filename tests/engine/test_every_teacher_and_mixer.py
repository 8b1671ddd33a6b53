"""Every teacher and every mixer of the registries: where a run stops, and on how many workers, processes and parts it
runs, changes nothing. One that is registered is tested.
"""

import itertools
import typing

import pytest
import torch
from safetensors.torch import load_file

import dmtc
import dmtc.engine.step
from alike import what_came_of
from dmtc.batches.mixing import MIXERS
from dmtc.config.folder import config_folder
from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry
from dmtc.core.yaml_files import read_yaml
from dmtc.pseudo.teachers import TEACHERS
from forked_runs import Forks, assert_all_done, pair
from registered import own_names

QUICK = len(own_names(MIXERS))
"""Pairs of the ordinary tests: every mixer once, and the teachers in turn. The slow ones have every other pair."""


def choices(registry: Registry, name: str) -> list[list[str]]:
    """The values of each option of a component that takes one of several names, as overrides."""
    hints = typing.get_type_hints(registry.builder(name))
    return [
        [f"{key}={value}" for value in typing.get_args(hint)]
        for key, hint in hints.items()
        if typing.get_origin(hint) is typing.Literal
    ]


def variants(registry: Registry, group: str) -> list[list[str]]:
    """Overrides of all components in turn: each by itself, then with every value of its options."""
    found = []
    for name in sorted(own_names(registry)):
        options = choices(registry, name)
        number = max([len(values) for values in options], default=0)
        own = [[f"{group}.{values[i % len(values)]}" for values in options] for i in range(number)]
        found.append([[f"{group}={name}", *more] for more in ([], *own)])
    return [one for of_each in itertools.zip_longest(*found) for one in of_each if one is not None]


def recipes() -> list[list[str]]:
    """Overrides that choose a teacher, a mixer, and what they need."""
    teachers, mixers = variants(TEACHERS, "teacher"), variants(MIXERS, "mixing")
    number = max(len(teachers), len(mixers))
    return [recipe(teachers[i % len(teachers)], mixers[i % len(mixers)], i) for i in range(number)]


def recipe(teacher: list[str], mixer: list[str], number: int) -> list[str]:
    chosen = [*teacher, *mixer, "teacher.decay=0.9"]
    if not TEACHERS.builder(teacher[0].removeprefix("teacher=")).in_step:
        stored = ["method=cbst", "schedule.rounds.label_ratios=[0.5]", "views=strong"]
        return [*stored, *chosen, "schedule.rounds.labelled_batch=3", "schedule.rounds.pseudo_batch=3"]
    views = ["strong_apart", "two_perturbed"] if by_students(chosen) else ["half_strong", "two_strong"]
    loss = "unimatch" if views[number % 2] == "two_perturbed" else "cps_cutmix"
    online = ["method=fixmatch", f"loss={loss}", "loss/selection=everything", f"views={views[number % 2]}"]
    return [*online, *chosen, "schedule.online.labelled_batch=3", "schedule.online.unlabelled_batch=3"]


def by_students(recipe: list[str]) -> bool:
    """Whether the labels come from the students' own passes."""
    given = dict(one.split("=") for one in recipe if one.startswith("teacher"))
    spec = read_yaml(config_folder() / "teacher" / f"{given['teacher']}.yaml")
    return given.get("teacher.mode", spec.get("mode")) == "student"


def named(recipe: list[str]) -> str:
    return " ".join(one for one in recipe if one.startswith(("teacher", "mixing", "views")) and "decay" not in one)


RECIPES = [
    pytest.param(one, id=named(one), marks=() if i < QUICK else pytest.mark.slow) for i, one in enumerate(recipes())
]


@pytest.fixture(scope="module")
def base(small) -> list[str]:
    """Four steps a phase, on batches that two processes cannot share evenly."""
    return [
        *small,
        "model.backbone.width=4",
        "schedule.limit_steps=4",
        "schedule.start.evaluations=1",
        "schedule.rounds.evaluations=1",
        "schedule.online.evaluations=1",
        "run.pictures=0",
        "run.log_every=1",
        "run.checkpoint_minutes=0",
        "run.workers=0",
    ]


@pytest.fixture(scope="module")
def plain(base) -> list[str]:
    """The same without batch normalization, so that images are independent."""
    return [*base, "imports=[own_networks]", "model.backbone.name=plain"]


@pytest.fixture(scope="module")
def forks():
    process = Forks()
    yield process
    process.close()


def test_every_teacher_and_mixer_has_its_turn():
    quick = {one for parameters in RECIPES[:QUICK] for one in parameters.values[0]}
    assert {f"teacher={name}" for name in own_names(TEACHERS)} <= quick
    assert {f"mixing={name}" for name in own_names(MIXERS)} <= quick


def logged_values(folder) -> list[dict]:
    return dmtc.tracking.read_records(folder / "metrics.jsonl")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_stopped_with_workers_goes_on_without_them_to_the_same_bits(base, recipe, tmp_path, monkeypatch):
    settings = [*base, *recipe]
    undisturbed = dmtc.train(dmtc.compose(settings), tmp_path / "undisturbed")
    assert any(record.get("loss", 0) > 0 for record in logged_values(undisturbed.folder.path))
    real, calls = dmtc.engine.step.total_loss, []
    total = sum(phase.steps for phase in undisturbed.plan)

    def failing(terms, inputs):
        calls.append(1)
        if len(calls) == total - 1:
            raise ZeroDivisionError
        return real(terms, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(dmtc.engine.step, "total_loss", failing)
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose([*settings, "run.workers=2"]), tmp_path / "stopped")
    assert list((tmp_path / "stopped").rglob("checkpoint*"))
    dmtc.resume(tmp_path / "stopped", {"workers": 0})
    assert what_came_of(tmp_path / "stopped") == what_came_of(undisturbed.folder.path)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("recipe", RECIPES)
def test_processes_and_parts_of_a_batch_change_nothing_but_rounding(forks, plain, recipe, tmp_path):
    settings = [*plain, *recipe]
    parts = [*settings, "run.accumulate=2"]
    jobs = [{"arguments": [*settings, "hydra.run.dir=one"]}, *pair(*settings, "hydra.run.dir=two")]
    jobs += [] if by_students(recipe) else [{"arguments": [*parts, "hydra.run.dir=parts"]}]
    assert_all_done(forks.run(jobs, tmp_path))
    assert_close(tmp_path / "one", tmp_path / "two")
    if by_students(recipe):
        with pytest.raises(ConfigError, match=r"run\.accumulate should be 1 with teacher\.mode=student"):
            dmtc.train(dmtc.compose(parts), tmp_path / "parts")
    else:
        assert_close(tmp_path / "one", tmp_path / "parts")


def assert_close(one, other) -> None:
    """Weights and logged values but for rounding."""
    paths = sorted(path.relative_to(one) for path in one.glob("phases/*/last.safetensors"))
    assert paths
    for path in paths:
        expected, got = load_file(one / path), load_file(other / path)
        assert got.keys() == expected.keys()
        for name, tensor in got.items():
            torch.testing.assert_close(tensor, expected[name], rtol=2e-4, atol=2e-5)
    for record, expected in zip(logged_values(other), logged_values(one), strict=True):
        assert record.keys() == expected.keys()
        for key in expected.keys() - {"images_per_s", "memory_bytes", "learning_rate"}:
            if isinstance(expected[key], float) and "miou" not in key and not key.startswith("accuracy"):
                assert record[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-5), (key, expected["step"])


@pytest.mark.parametrize("kept", ["by the loss", "by the teacher"])
def test_what_is_kept_depends_on_the_whole_batch(forks, plain, kept, tmp_path):
    """A share of every class; also with parts that have no labelled images."""
    chosen = ["method=cps_cutmix", "mixing=classmix", "teacher.mode=eval"]
    if kept == "by the loss":
        chosen += ["loss/selection=class_share", "teacher=average", "schedule.online.evaluations=1"]
        chosen += ["schedule.online.labelled_batch=2", "schedule.online.unlabelled_batch=3"]
        parts = []  # a selection sees one part at a time
    else:
        chosen += ["schedule=mutual", "schedule.rounds.label_ratios=[0.5]"]
        chosen += ["schedule.rounds.labelled_batch=2", "schedule.rounds.pseudo_batch=5"]
        chosen += ["loss.supervised.weight.rounds=1.0", "loss.unlabelled.weight.rounds=1.0"]
        parts = [{"arguments": [*plain, *chosen, "run.accumulate=4", "hydra.run.dir=parts"]}]
    settings = [*plain, *chosen]
    jobs = [{"arguments": [*settings, "hydra.run.dir=one"]}, *pair(*settings, "hydra.run.dir=two"), *parts]
    assert_all_done(forks.run(jobs, tmp_path))
    assert_close(tmp_path / "one", tmp_path / "two")
    if parts:
        assert_close(tmp_path / "one", tmp_path / "parts")
