"""The YAML files against the code they configure."""

import inspect
import os
import re
import subprocess
import sys
from copy import deepcopy
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

import dmtc
from dmtc.batches.mixing import MIXERS
from dmtc.batches.views import Views
from dmtc.cli.jobs import JOBS
from dmtc.cli.main import main as dmtc_main
from dmtc.config.compose import folder_name, known_keys
from dmtc.config.folder import config_folder
from dmtc.config.methods import method_title
from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry
from dmtc.data import DATASETS
from dmtc.data.augment import COLORS, Augment
from dmtc.engine.checks import check, settle
from dmtc.evaluation import METRICS, PROTOCOLS, Evaluation
from dmtc.evaluation.evaluate import _OF_EVERY_PROTOCOL
from dmtc.losses import LOSSES
from dmtc.losses.selection import SELECTIONS
from dmtc.losses.terms import _OF_EVERY_TERM, term_specs
from dmtc.machine.settings import RunSettings
from dmtc.models import BACKBONES, MODELS, TUNINGS
from dmtc.models.building import head_options
from dmtc.models.perturbation import PERTURBATIONS
from dmtc.pseudo.teachers import TEACHERS
from dmtc.schedule import OPTIMIZERS, RATES, SCHEDULES
from dmtc.schedule.settings import own_options
from dmtc.splits import SPLITS
from dmtc.tracking import LOGGERS
from marks import slow_but
from registered import own_names

GROUPS = [
    "dataset",
    "split",
    "model",
    "model/backbone",
    "model/tuning",
    "loss",
    "loss/mutual",
    "loss/contrastive",
    "loss/labelled",
    "loss/selection",
    "schedule",
    "teacher",
    "views",
    "mixing",
]
GROUPS += ["schedule/optimizer", "schedule/rate", "evaluation", "run", "logger", "job"]
CHOICES = [
    (group, path.stem)
    for group in GROUPS
    for path in sorted((config_folder() / group).glob("*.yaml"))
    if not path.stem.startswith("_")
]
NEEDS = {"loss/selection": ("method=fixmatch",)}
"""Groups with a place in some methods only, and such a method."""
EXPERIMENTS = sorted(
    path.stem for path in (config_folder() / "experiment").glob("*.yaml") if not path.stem.startswith("_")
)
# The published recipes differ in little but numbers: these have every data set, split and kind of schedule among them.
DIFFERENT = ["dmtc_camvid_1_8", "dmt_voc_1464", "flip_voc_1_50", "dmtc_cityscapes_full"]


@cache
def composed(*overrides: str) -> dict:
    """Not to be changed: several tests look at the same one."""
    return settle(dmtc.compose([*overrides]))


def parameters(builder, registry: Registry | None = None) -> set[str]:
    return set(inspect.signature(builder).parameters) - (registry.runtime if registry else set())


def test_every_group_has_choices():
    assert {group for group, _ in CHOICES} == set(GROUPS)
    assert EXPERIMENTS


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_fits_its_builder(group, choice):
    composed(*NEEDS.get(group, ()), f"{group}={choice}")


@pytest.mark.parametrize(
    "experiment", slow_but(EXPERIMENTS, quick=["your_data", "dmtc_camvid_1_8", "voc_animals_1_30", "voc_animals_1_8"])
)
def test_every_experiment_composes(experiment):
    composed(f"experiment={experiment}")


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_different_experiments_take_every_choice_in_turn(group):
    for choice, experiment in zip([choice for g, choice in CHOICES if g == group], cycle(DIFFERENT)):
        composed(f"experiment={experiment}", *NEEDS.get(group, ()), f"{group}={choice}")


@pytest.mark.parametrize("group", slow_but(GROUPS, quick=["views"]))
def test_your_data_takes_every_choice(group):
    for choice in [choice for g, choice in CHOICES if g == group]:
        composed("experiment=your_data", *NEEDS.get(group, ()), f"{group}={choice}")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_takes_a_choice_of_every_group(experiment):
    """Each another one: all choices with all experiments are 15,000 configs. Or it is told what to choose besides."""
    number = EXPERIMENTS.index(experiment)
    told = []
    for group in [group for group in GROUPS if group != "job"]:
        choices = [choice for g, choice in CHOICES if g == group]
        try:
            composed(f"experiment={experiment}", *NEEDS.get(group, ()), f"{group}={choices[number % len(choices)]}")
        except ConfigError as error:
            told.append(str(error))
    assert [line for line in told if "unknown" in line or not re.search(r": choose \w+=", line)] == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("overrides", "fallen", "kept"),
    [
        (["model/backbone=tiny"], ["model.backbone.arch", "model.backbone.output_stride"], {}),
        (["model/backbone=mobilenetv2"], [], {"model.backbone.arch": "mobilenetv2_100"}),
        (["model/backbone=timm"], [], {"model.backbone.arch": "resnet50s"}),
        (["method=supervised"], ["mixing.partner"], {"model.backbone.arch": "resnet50s"}),
        (["views=two_strong", "seed=1"], [], {"views.strong": 2}),
        (["method=prevmatch"], [], {"teacher.snapshots.most": 8}),
        (["method=u2pl", "mixing=three_boxes"], ["mixing.probability"], {"mixing.count": 3, "mixing.per": None}),
        (["model.channels=64"], [], {"model.backbone.arch": "resnet50s", "model.channels": 64}),
        (["model/backbone='timm'"], [], {"model.backbone.arch": "resnet50s", "model.backbone.output_stride": 16}),
        (["model/backbone=mobilenetv2", "model.backbone={arch: resnet18}"], [], {"model.backbone.arch": "resnet18"}),
        (["model/backbone=mobilenetv2", "+model.backbone.more=1"], [], {"model.backbone.more": 1}),
        (["mixing=classmix", "mixing.partner=next"], ["mixing.area"], {"mixing.partner": "next"}),
        (["model=linear", "model/backbone=dinov2_small", "model_b=dpt"], ["model.backbone.output_stride"], {}),
        (["teacher=average", "~teacher.decay"], [], {"model.backbone.arch": "resnet50s"}),
    ],
)
def test_what_a_recipe_set_for_a_swapped_part_falls_away(overrides, fallen, kept):
    config = dmtc.compose(["experiment=unimatch_voc_r50", *overrides])
    assert [OmegaConf.select(config, key) for key in fallen] == [None] * len(fallen)
    assert {key: OmegaConf.select(config, key) for key in kept} == kept
    usual = dmtc.compose(["experiment=unimatch_voc_r50"])
    assert all(OmegaConf.select(usual, key) is not None for key in fallen)


def test_a_part_of_ones_own_keeps_what_it_sets_over_the_part_that_it_builds_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "model/backbone").mkdir(parents=True)
    own = tmp_path / "model/backbone/mine.yaml"
    own.write_text("defaults: [resnet50, _self_]\noutput_stride: 32\n")
    given = [f"--config-dir={tmp_path}", "job=plan", "experiment=unimatch_voc_r50", "model/backbone=mine"]
    seen = []
    monkeypatch.setattr("dmtc.engine.checks.settle", lambda cfg, *_: seen.append(deepcopy(cfg)) or sys.exit(3))
    with pytest.raises(SystemExit):
        dmtc_main([*given, f"dataset.root={tmp_path}"])
    (config,) = seen
    assert config.model.backbone == {"name": "resnet50", "output_stride": 32}


def test_terms_of_another_set_of_losses_have_their_own_options():
    recipe = "experiment=classmix_cityscapes_20"
    assert dmtc.compose([recipe]).loss.unlabelled.divisor == "ce_positive"
    assert settle(dmtc.compose([recipe, "loss=consistency"]))["loss"]["unlabelled"]["divisor"] == "valid"
    assert dmtc.compose(["experiment=dmtc_cityscapes_1_8", "loss=dmt"]).loss.gamma == 3.0


def test_options_of_what_the_new_part_leaves_out_fall_away():
    recipe = "experiment=supervised_cityscapes_20"
    assert dmtc.compose([recipe]).views.rescale is not None
    assert settle(dmtc.compose([recipe, "views=strong"]))["views"]["rescale"] is None


@pytest.mark.parametrize("recipe", ["experiment=reco_voc_60", "method=reco"])
def test_a_term_that_is_turned_off_stays_off(recipe):
    assert dmtc.compose([recipe]).loss.contrastive is not None
    assert settle(dmtc.compose([recipe, "loss/contrastive=none"]))["loss"]["contrastive"] is None


def test_what_the_command_line_sets_does_not_fall_away():
    with pytest.raises(ConfigError, match="unknown option 'arch'"):
        settle(dmtc.compose(["experiment=unimatch_voc_r50", "model/backbone=tiny", "model.backbone.arch=resnet50s"]))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_state_their_command_first(experiment):
    text = (config_folder() / "experiment" / f"{experiment}.yaml").read_text()
    assert f"#   dmtc experiment={experiment}" in text.split("defaults:")[0]


@cache
def specs() -> list[tuple[str, Registry, dict]]:
    """Every component that the YAML files name, with what they give it."""
    found = []
    for group, choice in CHOICES:
        config = composed(*NEEDS.get(group, ()), f"{group}={choice}")
        match group:
            case "dataset":
                found.append(
                    (
                        f"{group}={choice}",
                        DATASETS,
                        {k: v for k, v in config[group].items() if k not in ("augment", "on_error")},
                    )
                )
            case "split":
                found.append((f"{group}={choice}", SPLITS, config[group]))
            case "model":
                found.append((f"{group}={choice}", MODELS, head_options(config[group])))
            case "model/backbone":
                found.append((f"{group}={choice}", BACKBONES, config["model"]["backbone"]))
            case "model/tuning":
                found.append((f"{group}={choice}", TUNINGS, config["model"]["tuning"]))
            case "loss" | "loss/mutual" | "loss/contrastive" | "loss/labelled":
                found += [(f"{group}={choice}", LOSSES, of_loss(spec)) for spec in term_specs(config["loss"]).values()]
            case "loss/selection":
                found.append((f"{group}={choice}", SELECTIONS, config["loss"]["unlabelled"]["selection"]))
            case "teacher":
                found.append((f"{group}={choice}", TEACHERS, config[group]))
            case "views":
                nested = (("color", COLORS), ("perturbation", PERTURBATIONS))
                found += [(f"{group}={choice}", registry, config[group][key]) for key, registry in nested]
            case "mixing":
                found.append((f"{group}={choice}", MIXERS, config[group]))
            case "schedule":
                found.append((f"{group}={choice}", SCHEDULES, own_options(config["schedule"])))
            case "schedule/optimizer":
                found.append((f"{group}={choice}", OPTIMIZERS, config["schedule"]["optimizer"]))
            case "schedule/rate":
                found.append((f"{group}={choice}", RATES, config["schedule"]["rate"]))
            case "evaluation":
                spec = {k: v for k, v in config[group].items() if k not in _OF_EVERY_PROTOCOL}
                found.append((f"{group}={choice}", PROTOCOLS, spec))
                options = config[group]["metric_options"]
                found += [(f"{group}: {name}", METRICS, {"name": name, **of}) for name, of in options.items()]
            case "logger":
                found += [(f"{group}={name}", LOGGERS, spec) for name, spec in (config["logger"] or {}).items()]
            case "job":
                found.append((f"{group}={choice}", JOBS, config["job"]))
    return [(where, registry, spec) for where, registry, spec in found if spec is not None]


def of_loss(spec: dict) -> dict:
    """The options of a term that are its loss's."""
    return {key: value for key, value in spec.items() if key not in _OF_EVERY_TERM}


def test_yaml_gives_exactly_the_parameters_of_the_builder():
    for where, registry, spec in specs():
        assert set(spec) - {"name"} == parameters(registry.builder(spec["name"]), registry), where


def test_every_registered_component_has_a_yaml_file():
    named = {(registry.kind, spec["name"]) for _, registry, spec in specs()}
    # Losses are in `losses/test_loss_contract.py`: some stand in the files of methods only.
    registries = [
        DATASETS,
        SPLITS,
        MODELS,
        BACKBONES,
        TUNINGS,
        SCHEDULES,
        OPTIMIZERS,
        RATES,
        PROTOCOLS,
        LOGGERS,
        JOBS,
        SELECTIONS,
        TEACHERS,
        MIXERS,
    ]
    for registry in registries:
        assert {(registry.kind, name) for name in own_names(registry)} <= named


def test_run_and_augment_settings():
    config = composed()
    assert set(config["run"]) == parameters(RunSettings)
    assert set(config["dataset"]["augment"]) == parameters(Augment)
    assert set(config["views"]) == {"name"} | parameters(Views)
    assert set(config["evaluation"]) == {"name"} | parameters(Evaluation) - {"protocol"}


def test_builders_have_no_defaults_for_what_changes_results():
    promised = {"min_confidence"}  # by the Python API: RegionalContrast is made without it
    for _, registry, spec in specs():
        for name, parameter in inspect.signature(registry.builder(spec["name"])).parameters.items():
            if name not in registry.runtime | promised:
                assert parameter.default is parameter.empty, f"{spec['name']}.{name} has a default in code and in YAML"


def test_faults_of_all_parts_come_in_one_message():
    config = deepcopy(composed())
    config["loss"]["mutual"]["gamma_agre"] = 3
    config["split"]["ratio"] = [1]
    config["model"]["backbone"]["width"] = "wide"
    config["model"]["weights"]["a"] = 7
    config["schedule"]["start"]["steps"] = 0
    config["run"]["precision"] = "float8"
    config["dataset"]["augment"]["flipp"] = 1
    config["loss"]["gama"] = 3.0
    config["evaluation"] |= {"size": [505, 505], "scales": "1"}
    config["seed"] = "x"
    with pytest.raises(ConfigError) as caught:
        check(config)
    message = str(caught.value)
    for text in (
        "Did you mean 'gamma_agree'?",
        "split.ratio should be",
        "model.backbone.width should be int",
        "model.weights.a should be null, imagenet or a file",
        "schedule.start.steps should be at least 1",
        "run.precision should be",
        "Did you mean 'flip'?",
        "loss: unknown option 'gama'",
        "evaluation: unknown option 'size'",
        "evaluation.scales should be list",
        "seed should be a whole number",
    ):
        assert text in message
    assert "\n" not in message


METHODS = sorted((config_folder() / "method").glob("*.yaml"))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_a_method_is_what_it_says(path):
    config = composed(f"method={path.stem}")
    assert config["method"]["name"] == path.stem
    assert (config["loss"]["name"], config["schedule"]["name"]) == (
        config["method"]["loss"],
        config["method"]["schedule"],
    )
    assert method_title(config) == path.stem
    terms = {
        name: entry["name"] for name, entry in config["loss"].items() if isinstance(entry, dict) and name != "terms"
    }
    assert terms == config["loss"]["terms"]


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        (("loss=dst",), "dmtc loss=dst"),
        (("method=dmt", "loss/mutual=flip"), "dmt loss/mutual=flip"),
        (("loss/contrastive=none",), "dmtc loss/contrastive=none"),
        (("loss/labelled=ohem",), "dmtc loss/labelled=ohem"),
        (("loss.contrastive=null", "schedule=self_training"), "dmtc schedule=self_training loss/contrastive=none"),
        (("method=cbst", "schedule=smoke"), "cbst"),
        (
            ("method=dmt", "+loss.more={name: cross_entropy, weight: {start: 1.0, rounds: 1.0}}"),
            "dmt loss.more=cross_entropy",
        ),
        (("loss=supervised",), "supervised"),
        (("loss=supervised", "method=supervised_long"), "supervised_long"),
        (("loss=supervised", "schedule=smoke"), "supervised"),
        (("loss=supervised", "schedule=supervised"), "supervised"),
        (("method=dmtc", "loss=supervised", "schedule=supervised"), "dmtc loss=supervised schedule=supervised"),
    ],
)
def test_a_title_names_every_part_that_is_swapped(overrides, title):
    assert method_title(composed(*overrides)) == title


def test_schedules_go_with_methods():
    assert composed("method=dmtc", "schedule=self_training")["schedule"]["name"] == "self_training"
    assert composed("method=dst", "schedule=smoke")["schedule"]["name"] == "self_training"


def test_one_gamma_moves_all_and_each_can_be_set():
    assert composed("loss.gamma=3")["loss"]["mutual"]["gamma_disagree"] == 3
    mutual = composed("dataset=camvid", "loss.mutual.gamma_agree=1")["loss"]["mutual"]
    assert (mutual["gamma_agree"], mutual["gamma_disagree"]) == (1, 5)


def test_contrastive_none_leaves_no_term():
    assert composed("loss/contrastive=none")["loss"]["contrastive"] is None


def test_loggers_in_a_list():
    assert set(composed("logger=[csv,wandb]")["logger"]) == {"csv", "wandb"}


def test_imports_register_a_users_component(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_split_of_mine.py").write_text(
        "from dmtc.splits import SPLITS, Split\n\n\n"
        "@SPLITS.register('first')\n"
        "def first(*, count: int, ids: tuple[str, ...], unmasked: tuple[str, ...]) -> Split:\n"
        "    subsets = {'a': ids[:count], 'b': ids[:count]}\n"
        "    return Split(name='first', ratio=str(count), labelled=ids[:count],\n"
        "                 unlabelled=ids[count:] + unmasked, subsets=subsets)\n"
    )
    config = dmtc.compose(["imports=[my_split_of_mine]"])
    config.split = {"name": "first", "count": 2}
    assert settle(config)["split"]["count"] == 2
    with pytest.raises(ConfigError, match="imports: no module 'not_there'"):
        settle(dmtc.compose(["imports=[not_there]"]))


def test_folder_names():
    assert folder_name("method=dmt,split.ratio=1/8") == "method=dmt,split.ratio=1-8"
    assert folder_name("") == "defaults"
    for letter in ("a", "道", "\udcff"):
        assert len(os.fsencode(folder_name(letter * 500))) < 200
        assert folder_name(letter * 500) != folder_name(letter * 501)
    alike = ["split.labelled=a/b.txt", "split.labelled=a-b.txt", "split.ratio=1/8", "split.ratio=1-8", "tag=1/8"]
    alike += ["tag=1-8", "split.ratio=1/8,tag=a/b", "split.ratio=1-8,tag=a/b", "split.ratio=1/8,tag=a-b"]
    assert len({folder_name(overrides) for overrides in alike}) == len(alike)
    assert not [name for name in map(folder_name, alike) if "/" in name]


def test_known_keys():
    assert {"seed", "split.ratio", "loss.mutual.gamma_agree", "run.device"} <= set(known_keys())


def test_yaml_files_are_tidy():
    for path in config_folder().rglob("*.yaml"):
        text = path.read_text()
        assert text.endswith("\n"), path
        assert "#" in text, f"{path} should say what it is"
        yaml.safe_load(text)


@pytest.mark.parametrize(
    ("arguments", "told", "unneeded"),
    [
        (["--help"], "loss", {"torch", "cv2", "numpy"}),
        (
            ["job=plan", "model/backbone=mobilenetv2", "dataset.train_images=8", "dataset.val_images=1"],
            "r5-b",
            {"timm", "torchvision", "triton", "matplotlib", "wandb"},
        ),
    ],
)
def test_commands_load_only_what_they_need(tmp_path, arguments, told, unneeded):
    (tmp_path / "scenes").mkdir()
    code = (
        "import sys; from dmtc.cli.main import main\n"
        f"try: main({arguments} + ['dataset.root={tmp_path / 'scenes'}'])\n"
        "except SystemExit as stopped: assert not stopped.code\n"
        f"assert not {unneeded} & set(sys.modules), {unneeded} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_config_folder_is_the_checkouts():
    assert config_folder() == Path(__file__).parents[2] / "conf"
