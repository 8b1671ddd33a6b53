"""The published recipes of methods that label within the step: their headers, plans and settings, and short runs."""

import math
import re
import runpy
import shlex
from pathlib import Path

import pytest

import dmtc
from dmtc.config.folder import config_folder
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.splits import published_sources, published_splits
from marks import slow_but
from trees import write_cityscapes, write_voc

ROOT = Path(__file__).parents[2]
MAKING = runpy.run_path(str(ROOT / "docs" / "making" / "experiments.py"))
OF_ROUNDS = tuple(base.stem for base in MAKING["settings"]())
HEADERS = {
    path.stem: path.read_text("utf-8").split("defaults:")[0]
    for path in sorted((config_folder() / "experiment").glob("[!_]*.yaml"))
    if not path.stem.endswith((*OF_ROUNDS, "your_data", "camvid_1_8", "animals_1_30", "animals_1_8"))
}
DATASETS = {name: dataset for name in HEADERS for dataset in ("voc", "cityscapes", "ade20k", "coco") if dataset in name}
IMAGES = 16
FILES = {
    "ade20k": ["images/training/ADE_train_{:08d}.jpg", "annotations/training/ADE_train_{:08d}.png"],
    "coco": ["train2017/{:012d}.jpg", "stuffthingmaps/train2017/{:012d}.png"],
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """A data set of each kind; the files of ADE20K and COCO are empty, as a plan opens none."""
    roots = {name: tmp_path_factory.mktemp(name) for name in ("voc", "cityscapes", *FILES)}
    roots["voc"] = write_voc(roots["voc"] / "VOC2012", train=6, sbd=IMAGES - 6, val=2, others=0)
    write_cityscapes(roots["cityscapes"], train=IMAGES, val=2)
    for name, patterns in FILES.items():
        for index in range(1, IMAGES + 1):
            for pattern in patterns:
                for part in (pattern, pattern.replace("train2017", "val2017").replace("training/", "validation/")):
                    path = roots[name] / part.replace("_train_", "_val_" if "validation" in part else "_train_")
                    path = Path(str(path).format(index if part == pattern else 10**6 + index))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
    return roots


def split_of(name: str) -> list[str]:
    """Four labelled images, whatever list the recipe asks for."""
    return ["split.ratio=4"] if "split.labelled" not in HEADERS[name] else ["split=dmt", "split.ratio=4"]


def command_of(name: str) -> list[str]:
    (command,) = re.findall(r"^#   dmtc (.+)$", HEADERS[name].replace("\\\n#    ", ""), re.MULTILINE)
    return shlex.split(command)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_has_the_command_and_says_whose_figures_on_which_lists(name):
    command = command_of(name)
    assert command[:2] == [f"experiment={name}", "dataset.root=DIR"]
    config = settle(dmtc.compose(command))
    assert config["dataset"]["name"] == DATASETS[name]
    lines = MAKING["published_lines"](HEADERS[name])
    assert lines
    assert len(lines) == HEADERS[name].count("# published:"), "a line is in no known form"
    known = {source.repository.partition("/")[2]: source.name for source in published_sources()}
    lists = {
        (shipped.source, shipped.file): shipped.name.removeprefix("train_aug_labeled_")
        for split in published_splits()
        if split.dataset == DATASETS[name]
        for shipped in split.lists
    }
    if config["split"]["name"] == "files":
        repository, _, file = config["split"]["labelled"].partition("/")
        source = known[repository]
        assert (source, file) in lists
        of_source = {each for (whose, _), each in lists.items() if whose == source}
        assert {each for figures, _ in lines for each in figures} <= of_source
    else:
        assert all(set(figures) == {""} for figures, _ in lines)


@pytest.mark.parametrize(
    "name", slow_but(HEADERS, quick=["u2pl_cityscapes_r101", "cps_cutmix_voc_r50", "unimatch_v2_coco_dinov2_base"])
)
def test_a_recipe_has_the_plan_of_its_settings(name, roots):
    given = [f"experiment={name}", f"dataset.root={roots[DATASETS[name]]}", *split_of(name), "run.device=cpu"]
    components = Components(settle(dmtc.compose(given)))
    config = components.config
    assert name.startswith(config["method"]["name"] + "_")
    trainees = {"cps": "ab", "st": "aaa"}.get(name.split("_")[0], "a")
    assert "".join(phase.trainee for phase in components.plan) == trainees
    for phase in components.plan:
        if name.startswith("st_"):
            assert phase.steps > 0
            continue
        if name.startswith("supervised"):
            start = config["schedule"]["start"]
            steps = start["steps"] or start["epochs"] * math.ceil(4 / start["labelled_batch"])
            assert (phase.stage, phase.steps) == ("start", steps)
            continue
        online = config["schedule"]["online"]
        assert phase.stage == "online"
        assert phase.labelled_batch == phase.pseudo_batch == online["unlabelled_batch"]
        unlabelled = IMAGES - 4
        assert phase.steps == (online["steps"] or online["epochs"] * math.ceil(unlabelled / phase.pseudo_batch))
        assert phase.evaluations == (online["epochs"] or 200)


PUBLISHED = {
    # crop, images of a kind, epochs, rate of the backbone, of the heads, weight decay
    "unimatch_voc_r101": (321, 8, 80, 0.001, 0.01, 1e-4),
    "unimatch_voc_r101_513": (513, 8, 80, 0.001, 0.01, 1e-4),
    "unimatch_cityscapes_r50": (801, 8, 240, 0.005, 0.005, 1e-4),
    "fixmatch_cityscapes_r101": (801, 8, 240, 0.005, 0.005, 1e-4),
    "unimatch_coco_xception65": (513, 8, 30, 0.004, 0.04, 1e-4),
    "unimatch_v2_voc_dinov2_small": (518, 16, 60, 5e-6, 2e-4, 0.01),
    "unimatch_v2_cityscapes_dinov2_base": (798, 8, 180, 5e-6, 2e-4, 0.01),
    "unimatch_v2_ade20k_dinov2_large": (518, 8, 60, 5e-6, 2e-4, 0.01),
    "fixmatch_ema_coco_dinov2_base": (518, 16, 20, 5e-6, 2e-4, 0.01),
    "augseg_voc_r101": (513, 16, 80, 0.001, 0.01, 1e-4),
    "augseg_cityscapes_r101": (800, 16, 240, 0.01, 0.01, 5e-4),
    "u2pl_voc_r101": (513, 16, 80, 0.001, 0.01, 1e-4),
    "u2pl_cityscapes_r101": (769, 16, 200, 0.01, 0.01, 5e-4),
    "cps_voc_r50": (512, 8, 34, 0.01 / 4, 0.01 / 4, 4 * 1e-4),
    "cps_cutmix_cityscapes_r50": (800, 8, 240, 0.02 / 8, 0.02 / 8, 8 * 1e-4),
    "reco_voc_r101": (321, 10, None, 2.5e-3, 2.5e-3, 5e-4),
    "reco_voc_60": (321, 10, None, 2.5e-3, 2.5e-3, 5e-4),
    "classmix_cityscapes_20": (512, 2, None, 2.5e-3, 2.5e-3, 5e-4),
}


def test_the_retrainings_of_st_plus_plus_have_the_published_lengths(roots):
    """80 epochs of the better half, then 80 of all; 16 images a step, half of them pseudo-labelled."""
    given = ["experiment=st_plus_plus_voc_r101", f"dataset.root={roots['voc']}", "split=dmt", "split.ratio=4"]
    plan = Components(settle(dmtc.compose([*given, "schedule.rounds.pseudo_batch=1", "run.device=cpu"]))).plan
    assert [phase.steps for phase in plan] == [80, 80 * 6, 80 * 12]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name):
    crop, batch, epochs, backbone, heads, decay = PUBLISHED[name]
    config = settle(dmtc.compose(command_of(name)))
    online, rate = config["schedule"]["online"], config["model"]["tuning"]["backbone_rate"]
    assert config["dataset"]["augment"]["crop"] == [crop, crop]
    assert (online["labelled_batch"], online["unlabelled_batch"], online["epochs"]) == (batch, batch, epochs)
    assert (online["learning_rate"] * rate, online["learning_rate"]) == pytest.approx((backbone, heads))
    assert config["schedule"]["optimizer"]["weight_decay"] == pytest.approx(decay)
    offset = {"unimatch": 1, "fixmatch": 1, "prevmatch": 1, "augseg": 0, "u2pl": 0, "cps": 0}.get(
        name.split("_")[0]
    )  # None: by epoch
    assert config["schedule"]["rate"].get("offset") == offset


def test_the_supervised_rows_of_reco_have_colored_images_and_twice_the_batch():
    for name, batch in (("supervised_voc_60", 20), ("supervised_cityscapes_20", 4)):
        config = settle(dmtc.compose(command_of(name)))
        start = config["schedule"]["start"]
        assert (start["steps"], start["labelled_batch"], start["learning_rate"]) == (40000, batch, 2.5e-3)
        assert config["views"]["labelled"] is True
        assert config["schedule"]["rate"]["name"] == "poly_by_epoch"


@pytest.mark.parametrize("name", ["unimatch_v2_voc_dinov2_large", "fixmatch_voc_r50", "u2pl_voc_r101"])
def test_the_tuning_of_a_recipe_is_swapped_alone(name):
    frozen = settle(dmtc.compose([*command_of(name), "model/tuning=frozen"]))
    assert frozen["model"]["tuning"] == {"name": "frozen"}
    layers = settle(dmtc.compose([*command_of(name), "model/tuning=layer_decay"]))
    own = settle(dmtc.compose(command_of(name)))["model"]["tuning"]["backbone_rate"]
    assert layers["model"]["tuning"]["backbone_rate"] == own < 1


SHORT = [
    *("unimatch_voc_r101", "unimatch_v2_voc_dinov2_small", "augseg_voc_r101", "cps_voc_r50", "reco_voc_60"),
    *("fixmatch_cityscapes_r101", "cps_cutmix_cityscapes_r50", "classmix_cityscapes_20", "augseg_cityscapes_r101"),
    *("u2pl_voc_r101", "u2pl_cityscapes_r101", "prevmatch_cityscapes_r101", "st_plus_plus_voc_r101"),
    *("supervised_voc_r101", "supervised_voc_60", "unimatch_v2_voc_dinov2_base_frozen", "corrmatch_voc_r101"),
    *("supervised_voc_dinov2_large", "unimatch_voc_dinov2_base", "unimatch_v2_cityscapes_dinov2_base"),
]


@pytest.mark.parametrize(
    "name", slow_but(SHORT, quick=["reco_voc_60", "st_plus_plus_voc_r101", "augseg_cityscapes_r101"])
)
def test_a_recipe_runs_from_start_to_end(name, roots, tmp_path):
    root = roots[DATASETS[name]]
    given = [f"experiment={name}", f"dataset.root={root}", *split_of(name)]
    if DATASETS[name] == "cityscapes":
        given += [f"dataset.cache={tmp_path / 'half'}"]
    if "dinov2" in name:
        given += ["model/backbone=vit", "model.backbone.arch=test_vit", "model.levels=null", "model.channels=8"]
    else:
        given += ["model/backbone=timm", "model.backbone.arch=test_resnet", "model.channels=8"]
    given += ["model.weights.a=null", "model.weights.b=null", "schedule.online.evaluations=1"]
    given += ["schedule.limit_steps=2", "schedule.start.evaluations=1", "dataset.augment.crop=[48,48]"]
    given += [f"schedule.{key}_batch=2" for key in ("start.labelled", "online.labelled", "online.unlabelled")]
    given += ["run.device=cpu", "run.progress=off", "run.report=false"]
    run = dmtc.train(dmtc.compose(given), tmp_path / "run")
    assert 0 <= run.results["miou"]["a"]["last"] <= 1
    assert run.results["phases"][0]["steps"] == 2
