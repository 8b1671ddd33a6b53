"""Bad input: each fault is told in one line that names what is wrong, exits with 2, and leaves nothing half-written."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from alike import what_came_of
from marks import slow_but
from trees import OWN, save, write_folder, write_list

NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
LABEL = (NOISE[..., 0] > 128).astype(np.uint8)


class Boom:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def refused(command, folder: Path, arguments: list[str], named: list[str], small_run: bool = False) -> None:
    before = set(folder.rglob("results.json"))
    code, out, err = command(*arguments, small_run=small_run)
    assert code == 2, out + err
    assert "Traceback" not in out + err
    told = [line for line in err.strip().splitlines() if not line.startswith("WARNING: skipped: ")]
    assert len(told) == 1, err
    assert told[0].startswith("error: ")
    for text in named:
        assert text in told[0]
    unfinished = [path for path in folder.rglob("*") if path.name.endswith((".part", ".tmp")) or ".unfin" in path.name]
    assert unfinished == []
    assert set(folder.rglob("results.json")) == before
    assert not list(folder.rglob("exploded"))


# Overrides of a good run on the built-in data set, and what the message names. {lists} holds the files of `lists`.
SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "misspelt option": (["split.ration=1/8"], ["ration", "Did you mean split.ratio?"]),
    "misspelt added option": (["+loss.mutual.gamma_agre=3"], ["gamma_agre", "gamma_agree"]),
    "misspelt choice": (["loss=dmtcc"], ["dmtcc", "Did you mean loss=dmtc?"]),
    "misspelt method": (["method=dmtcc"], ["dmtcc", "Did you mean method=dmtc?"]),
    "misspelt group": (["methd=dmt"], ["error: methd: dmtc has no such setting. Did you mean method?"]),
    "misspelt group of a group": (["mdel/backbone=resnet50"], ["Did you mean model/backbone?"]),
    "misspelt group of an option": (["shedule.online.steps=4"], ["Did you mean schedule.online.steps?"]),
    "option of another choice": (
        ["modle.backbone.arch=x"],
        ["Did you mean model.backbone.arch? It is an option of model/backbone="],
    ),
    "option without its group": (["backbone=resnet50"], ["Did you mean model/backbone"]),
    "choice of another group": (["split=dpt"], ["It is a choice of another group: model=dpt"]),
    "misspelt choice of another group": (["method=dptt"], ["Did you mean model=dpt?"]),
    "misspelt averaged teacher": (["method=fixmatch_emma"], ["Did you mean method=fixmatch_ema?"]),
    "misspelt terms": (["loss=fixmach"], ["Did you mean loss=fixmatch?"]),
    "part that the method has not": (
        ["method=dmt", "loss/selection=threshold"],
        ["loss/selection: method=dmt has no such part; these methods have it: ", "fixmatch, ", "crescendo"],
    ),
    "part that swapped terms have not": (
        ["method=fixmatch", "loss=dmt", "loss/selection=threshold"],
        ["loss/selection: loss=dmt has no such part; these methods have it: "],
    ),
    "a method as model": (["model=fixmatch"], ["It is a method: method=fixmatch"]),
    "a method as terms": (["loss=supervised_long"], ["It is a method: method=supervised_long"]),
    "terms that do not go with the schedule": (
        ["loss=supervised", "method=dmt"],
        [
            "counts in the rounds",
            "error: the terms of loss=supervised go with method=supervised or method=supervised_long; no loss term",
        ],
    ),
    "misspelt protocol": (["evaluation=slidng"], ["slidng", "Did you mean evaluation=sliding?"]),
    "unbalanced bracket": (["schedule.rounds.label_ratios=[0.5"], ["[0.5"]),
    "wrong type": (["loss.mutual.gamma_agree=hello"], ["loss.mutual.gamma_agree", "hello"]),
    "seed is no number": (["seed=first"], ["seed", "first"]),
    "unknown device": (["run.device=abacus"], ["abacus"]),
    "unknown precision": (["run.precision=float8"], ["run.precision", "float8"]),
    "meaningless numbers of run": (
        [
            "run.workers=-1",
            "run.accumulate=0",
            "run.log_every=0",
            "run.label_batch=0",
            "run.pictures=-1",
            "run.checkpoint_minutes=-0.5",
        ],
        [
            "run.workers should be at least 0, but is -1",
            "run.accumulate should be at least 1, but is 0",
            "run.log_every should be at least 1, but is 0",
            "run.label_batch should be at least 1, but is 0",
            "run.pictures should be at least 0, but is -1",
            "run.checkpoint_minutes should be at least 0, but is -0.5",
        ],
    ),
    "minutes that are no number": (["run.checkpoint_minutes=nan"], ["run.checkpoint_minutes", "nan"]),
    "workers in words": (["run.workers=many"], ["run.workers", "many"]),
    "unknown on_error": (["dataset.on_error=ignore"], ["dataset.on_error should be stop or skip", "ignore"]),
    "crop without pixels": (["dataset.augment.crop=[0,32]"], ["crop", "[0, 32]"]),
    "no steps": (["schedule.start.steps=0"], ["schedule.start.steps", "0"]),
    "label ratio above one": (["schedule.rounds.label_ratios=[1.5]"], ["label_ratios", "1.5"]),
    "empty batch": (["schedule.start.labelled_batch=0"], ["labelled_batch"]),
    "no loss in the rounds": (["loss/mutual=none"], ["no loss term counts in the rounds"]),
    "unknown module": (["imports=[not_there]"], ["not_there"]),
    "cache in a file": (["dataset.root={lists}/one.txt"], ["one.txt", "dataset.root"]),
    "picture larger than the protocol": (["evaluation=padded", "evaluation.size=[40,99]"], ["val_", "48x48", "40x99"]),
    "unreadable ratio": (["split.ratio=some"], ["some"]),
    "ratio without a labelled image": (["split.ratio=1/1000"], ["1/1000"]),
    "ratio above one": (["split.ratio=3/2"], ["3/2"]),
    "ratio by zero": (["split.ratio=1/0"], ["1/0"]),
    "ratio that is no number": (["split.ratio=nan"], ["nan"]),
    "count above the images": (["split.ratio=1000"], ["1000"]),
    "negative fold": (["split.fold=-1"], ["split.fold", "-1"]),
    "no list named": (["split=files"], ["split.labelled"]),
    "list missing": (["split=files", "split.labelled=none.txt"], ["none.txt"]),
    "list is no text": (["split=files", "split.labelled={lists}/binary.txt"], ["binary.txt"]),
    "list is empty": (["split=files", "split.labelled={lists}/empty.txt"], ["empty.txt", "no ids"]),
    "list with an unknown id": (["split=files", "split.labelled={lists}/unknown.txt"], ["line 2", "no_such_image"]),
    "list with an id twice": (["split=files", "split.labelled={lists}/twice.txt"], ["line 2", "repeats line 1"]),
    "list with a path out of the data": (["split=files", "split.labelled={lists}/out.txt"], ["../../secret"]),
    "list with a validation image": (["split=files", "split.labelled={lists}/val.txt"], ["val_00000"]),
    "overlapping lists": (
        ["split=files", "split.labelled={lists}/one.txt", "split.unlabelled={lists}/one.txt"],
        ["both labelled and unlabelled", "train_00000"],
    ),
    "weights missing": (["model.weights.a=none.pth"], ["none.pth"]),
    "weights of the second network missing": (["model.weights.b=none.pth"], ["none.pth"]),
    "weights of something else": (["model.weights.a={lists}/other.safetensors"], ["other.safetensors"]),
    "weights are text": (["model.weights.b={lists}/one.txt"], ["one.txt"]),
    "weights are empty": (["model.weights.a={lists}/empty.pth"], ["empty.pth"]),
    "weights that run code": (["model.weights.a={lists}/code.pth"], ["code.pth", "not a plain file of tensors"]),
    "weights that run code, plain pickle": (["model.weights.a={lists}/code.pkl"], ["code.pkl"]),
    "weights that are cut off": (["model.weights.a={lists}/cut.safetensors"], ["cut.safetensors"]),
    "weights without names": (["model.weights.a={lists}/tensor.pth"], ["tensor.pth", "no tensors by name"]),
    "weights that are not what their name says": (
        ["model.weights.a={lists}/net-01234567.pth"],
        ["01234567", "SHA-256"],
    ),
    "unknown rule of weights": (["model.normalization.a=cafe"], ["model.normalization.a", "caffe"]),
    "evaluate without a run": (["job=evaluate"], ["run=RUN_DIR"]),
    "report without runs": (["job=report"], ["runs=DIR"]),
    "report of no folder": (["job=report", "runs=nowhere"], ["nowhere"]),
}


@pytest.fixture
def lists(tmp_path) -> Path:
    """Lists and files of weights of every bad kind."""
    folder = tmp_path / "lists"
    folder.mkdir()
    write_list(folder / "one.txt", ["train_00000"])
    write_list(folder / "unknown.txt", ["train_00000", "no_such_image"])
    write_list(folder / "twice.txt", ["train_00000", "train_00000"])
    write_list(folder / "out.txt", ["../../secret"])
    write_list(folder / "val.txt", ["val_00000"])
    write_list(folder / "empty.txt", [])
    (folder / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    save_file({"encoder.x": torch.zeros(3)}, folder / "other.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "other.safetensors").read_bytes()[:-4])
    (folder / "empty.pth").write_bytes(b"")
    torch.save({"state_dict": {"x": Boom()}}, folder / "code.pth")
    (folder / "code.pkl").write_bytes(pickle.dumps(Boom()))
    torch.save(torch.zeros(3), folder / "tensor.pth")
    torch.save({"x": torch.zeros(3)}, folder / "net-01234567.pth")
    return folder


@pytest.mark.sampled(15)
@pytest.mark.parametrize("case", SETTINGS)
def test_settings_splits_and_weights(command, tmp_path, lists, case):
    overrides, named = SETTINGS[case]
    refused(
        command, tmp_path, [o.format(lists=lists) for o in overrides], named, small_run="job=report" not in overrides
    )
    if "protocol" not in case:
        assert not list(tmp_path.rglob("plan.json")), "found before anything is trained"


def replaced(path: str, content: bytes | np.ndarray) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for file in [root / path] if "*" not in path else sorted(root.glob(path)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content) if isinstance(content, bytes) else save(file, content)

    return damage


def removed(path: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()

    return damage


def cut(path: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / path).write_bytes((root / path).read_bytes()[:-30])

    return damage


def cut_jpeg(root: Path) -> None:
    (root / "images/p03.png").unlink()
    Image.fromarray(NOISE).save(root / "images/p03.jpg")
    cut("images/p03.jpg")(root)


def folder_in_place(root: Path) -> None:
    (root / "masks/p03.png").unlink()
    (root / "masks/p03.png").mkdir()


def linked(target: str, path: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        os.symlink(root / target, root / path)

    return damage


def colored(root: Path) -> None:
    for path in (root / "masks").iterdir():
        save(path, np.zeros((40, 40, 3), np.uint8))
    save(root / "masks/p03.png", NOISE)


def only_ground(root: Path) -> None:
    (root / "classes.txt").unlink()
    replaced("masks/*.png", np.zeros((40, 40), np.uint8))(root)


def nothing(root: Path) -> None:
    pass


COLORS = "dataset.colors=[[0,0,0],[128,0,0]]"

# What is done to a good folder of pictures, further overrides, and what the message names.
FILES: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "image that is text": (replaced("images/p03.png", b"no picture"), [], ["p03.png", "cannot be read as an image"]),
    "image cut off": (cut("images/p03.png"), [], ["p03.png", "cut off"]),
    "JPEG cut off": (cut_jpeg, [], ["p03.jpg", "cannot be read as an image"]),
    "image is a dangling link": (linked("nowhere", "images/p03.png"), [], ["p03.png", "No such file"]),
    "image is a link to itself": (linked("images/p03.png", "images/p03.png"), [], ["p03.png", "symbolic links"]),
    "mask that is text": (replaced("masks/p03.png", b"no picture"), [], ["p03.png", "cannot be read as a mask"]),
    "mask cut off": (cut("masks/p03.png"), [], ["p03.png", "cannot be read as a mask"]),
    "mask of another size": (replaced("masks/p03.png", LABEL[:30]), [], ["p03.png", "40x40", "40x30"]),
    "unknown class": (replaced("masks/p03.png", LABEL + np.uint8(6)), [], ["p03.png", "unknown class 6, 7"]),
    "16-bit class": (
        replaced("masks/p03.png", LABEL.astype(np.uint16) * 300),
        [],
        ["p03.png", "300 (", "belongs to no class"],
    ),
    "color mask": (replaced("masks/p03.png", NOISE), [], ["p03.png", "RGB", "dataset.colors"]),
    "mask with transparency": (replaced("masks/p03.png", np.dstack([LABEL, LABEL])), [], ["p03.png", "LA"]),
    "unlisted color": (colored, [COLORS], ["p03.png", "is not a class"]),
    "validation image that is text": (replaced("images/p10.png", b"no picture"), [], ["p10.png"]),
    "validation mask cut off": (cut("masks/p10.png"), ["dataset.on_error=skip"], ["p10.png"]),
    "every image unreadable": (
        replaced("images/p0?.png".replace("?", "*"), b""),
        ["dataset.on_error=skip"],
        ["in a row cannot be used"],
    ),
}

# The same, for what is found before anything is read.
LAYOUT: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "no such folder": (nothing, ["dataset.root=nowhere"], ["nowhere"]),
    "no folder named": (nothing, ["dataset.root=null"], ["dataset.root=DIR"]),
    "no images folder": (removed("images"), [], ["images"]),
    "no masks folder": (removed("masks"), [], ["masks or", "dataset.masks=DIR"]),
    "images folder is a file": (nothing, ["dataset.images={root}/classes.txt"], ["classes.txt"]),
    "images folder without images": (nothing, ["dataset.images={root}/.."], ["no image has a mask"]),
    "folder without files": (nothing, ["dataset.images={root}/empty"], ["empty", "no images there"]),
    "other names": (nothing, ["dataset.masks={root}/other"], ["no image has a mask", "x01"]),
    "two images of one name": (replaced("images/p03.bmp", LABEL), [], ["p03.bmp", "p03.png", "same id 'p03'"]),
    "name with a line break": (replaced("images/a\nb.png", LABEL), [], ["a\\nb", "cannot be printed"]),
    "name that is no text": (
        lambda root: Path(os.fsdecode(os.fsencode(root) + b"/images/\xff.png")).write_bytes(b""),
        [],
        ["udcff", "cannot be printed"],
    ),
    "validation list missing": (nothing, ["dataset.val={root}/none.txt"], ["none.txt"]),
    "validation list empty": (replaced("val.txt", b"\n"), [], ["val.txt", "no ids in it"]),
    "unknown validation id": (
        replaced("val.txt", b"p10\nno_such_image\n"),
        [],
        ["val.txt, line 2", "no_such_image", "is no image"],
    ),
    "validation id without a mask": (replaced("val.txt", b"p08\n"), [], ["p08", "without a mask"]),
    "validation id out of the data": (replaced("val.txt", b"../masks/other\n"), [], ["../masks/other", "is no image"]),
    "validation id from the root": (replaced("val.txt", b"/etc/passwd\n"), [], ["/etc/passwd", "is no image"]),
    "validation list is no text": (replaced("val.txt", b"\xff\xfe\x81"), [], ["val.txt"]),
    "share above one": (nothing, ["dataset.val_fraction=1.5"], ["val_fraction", "1.5"]),
    "class named twice": (replaced("classes.txt", b"a\na\n"), [], ["class names", "a"]),
    "only one class": (only_ground, [], ["fewer than two classes"]),
    "more colors than classes": (nothing, ["dataset.colors=[[0,0,0]]"], ["1 colors for 2 classes"]),
    "color above a byte": (nothing, ["dataset.colors=[[0,0,0],[256,0,0]]"], ["256"]),
    "one color for two classes": (nothing, ["dataset.colors=[[1,1,1],[1,1,1]]"], ["[1, 1, 1]"]),
    "ignored index of color masks": (nothing, [COLORS, "dataset.ignore_value=0"], ["ignore_value"]),
    "more classes than a byte": (
        replaced("classes.txt", b"\n".join(b"c%d" % i for i in range(256))),
        [],
        ["256 classes"],
    ),
    "labelled image without a mask": (
        replaced("list.txt", b"p08\n"),
        ["split=files", "split.labelled={root}/list.txt"],
        ["p08", "without a mask"],
    ),
    "camvid in no folder": (nothing, ["dataset=camvid", "dataset.root=nowhere"], ["nowhere", "download"]),
    "voc in no folder": (nothing, ["dataset=voc", "dataset.root=nowhere"], ["nowhere", "download"]),
    "cityscapes in no folder": (nothing, ["dataset=cityscapes", "dataset.root=nowhere"], ["nowhere", "download"]),
    "cityscapes with another part": (
        nothing,
        ["dataset=cityscapes", "dataset.root=nowhere", "dataset.extra=[night]"],
        ["night", "train_extra"],
    ),
}


@pytest.mark.sampled(12)
@pytest.mark.parametrize("case", FILES | LAYOUT)
def test_pictures(command, tmp_path, case):
    damage, overrides, named = (FILES | LAYOUT)[case]
    root = write_folder(tmp_path / "data", masked=4 if case == "every image unreadable" else 8)
    (root / "empty").mkdir()
    save(root / "other/x01.png", LABEL)
    damage(root)
    arguments = [*OWN, f"dataset.root={root}", "method=supervised", *(o.format(root=root) for o in overrides)]
    refused(command, tmp_path, arguments, named)
    if case in LAYOUT:
        assert not list(tmp_path.rglob("plan.json")), "found before anything is trained"
    else:
        assert not list(tmp_path.rglob("last.safetensors"))


def edited(path: str, edit: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        content = json.loads((run / path).read_text())
        edit(content)
        (run / path).write_text(json.dumps(content))

    return damage


def unfinished(run: Path, *phases: str) -> None:
    """As if the run had been stopped after its first phases."""
    (run / "results.json").unlink()
    for phase in ("r2-a", "r2-b", *phases):
        shutil.rmtree(run / "phases" / phase, ignore_errors=True)


def with_code(path: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        torch.save({"state_dict": {"x": Boom()}}, run / path)

    return damage


def damaged_labels(run: Path) -> None:
    """Those that the last round learns from."""
    paths = [*run.rglob("pseudo_labels/r1-*/*.zst")]
    assert paths
    for path in paths:
        path.write_bytes(b"x" * path.stat().st_size)


EVALUATE, RESUME = ["job=evaluate", "run={run}"], ["resume={run}"]
LAST_A = "phases/r2-a/last.safetensors"

# What is done to a finished run, the command, and what the message names.
RUNS: dict[str, tuple[Callable[[Path], object], list[str], list[str]]] = {
    "evaluate no run": (nothing, ["job=evaluate", "run={run}/phases"], ["not a run folder", "config.yaml"]),
    "evaluate nothing": (nothing, ["job=evaluate", "run=nowhere"], ["no run folder nowhere"]),
    "resume nothing": (nothing, ["resume=nowhere"], ["nowhere"]),
    "resume with other settings": (nothing, [*RESUME, "seed=1"], ["seed cannot be changed"]),
    "unknown checkpoint": (nothing, [*EVALUATE, "job.checkpoint=first"], ["job.checkpoint", "first"]),
    "unknown protocol": (nothing, [*EVALUATE, "job.protocols=[paded]"], ["paded"]),
    "protocol without a name": (nothing, [*EVALUATE, "job.protocols=[{{flip: true}}]"], ["job.protocols"]),
    "config is no YAML": (replaced("config.yaml", b"a: [b"), EVALUATE, ["config.yaml", "damaged"]),
    "config is a list": (replaced("config.yaml", b"- a\n- b\n"), EVALUATE, ["config.yaml", "damaged"]),
    "config that runs code": (
        replaced("config.yaml", b"a: !!python/object/apply:os.mkdir [exploded]\n"),
        EVALUATE,
        ["config.yaml", "damaged"],
    ),
    "config is no text": (replaced("config.yaml", b"\xff\xfe\x81\x00"), EVALUATE, ["config.yaml"]),
    "split missing": (removed("split.json"), EVALUATE, ["split.json"]),
    "split is no JSON": (replaced("split.json", b"{"), EVALUATE, ["split"]),
    "split was edited": (edited("split.json", lambda split: split["labelled"].pop()), EVALUATE, ["sha256"]),
    "weights missing": (removed(LAST_A), EVALUATE, ["last.safetensors"]),
    "weights cut off": (cut(LAST_A), EVALUATE, ["last.safetensors"]),
    "weights that run code": (with_code(LAST_A), EVALUATE, ["last.safetensors"]),
    "weights of another network": (
        lambda run: save_file({"x": torch.zeros(3)}, run / LAST_A),
        EVALUATE,
        ["last.safetensors"],
    ),
    "record of a phase is no JSON": (
        lambda run: (unfinished(run), (run / "phases/r1-a/phase.json").write_text("{")),
        RESUME,
        ["phase.json", "damaged"],
    ),
    "weights to go on from cut off": (
        lambda run: (unfinished(run), cut("phases/r1-a/last.safetensors")(run)),
        RESUME,
        ["last.safetensors"],
    ),
}

PARTS_OF_A_CONFIG = ["run", "loss", "schedule", "dataset", "imports", "seed", "split", "model", "evaluation", "job"]


def ends_after(key: str) -> Callable[[Path], None]:
    """A config.yaml that is cut off behind the name of a part."""

    def damage(run: Path) -> None:
        lines = (run / "config.yaml").read_text().splitlines()
        last = next(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
        (run / "config.yaml").write_text("\n".join([*lines[:last], f"{key}:"]))

    return damage


@pytest.mark.parametrize("key", slow_but(PARTS_OF_A_CONFIG, quick=["run", "evaluation"]))
def test_a_config_that_is_cut_off_is_told_by_every_job_and_among_others(command, finished, tmp_path, key):
    run = tmp_path / "runs" / "damaged"
    shutil.copytree(finished.folder.path, run)
    ends_after(key)(run)
    for arguments in (RESUME, EVALUATE, ["job=report", "run={run}"]):
        refused(command, tmp_path, [a.format(run=run) for a in arguments], ["config.yaml"])
    shutil.copytree(finished.folder.path, tmp_path / "runs" / "whole")
    code, out, err = command("job=report", f"runs={tmp_path / 'runs'}", "job.out=page", small_run=False)
    assert code == 0, err
    assert "Traceback" not in out + err
    assert "damaged" in out
    assert "dmtc" in out, "the other run is reported"


@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", RUNS)
def test_runs(command, finished, tmp_path, case):
    damage, arguments, named = RUNS[case]
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    damage(run)
    progress = ["run.progress=off"] if arguments[0].startswith("resume") else []
    refused(command, tmp_path, [*(a.format(run=run) for a in arguments), *progress], named)


@pytest.mark.parametrize("damaged", ["histogram.npy", "store.json"])
def test_a_damaged_store_is_made_anew_and_never_run(command, finished, tmp_path, damaged):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    unfinished(run)
    for path in [run / f"pseudo_labels/{teacher}/{damaged}" for teacher in ("r1-a", "r1-b")]:
        assert path.is_file()
        if damaged.endswith("npy"):
            np.save(path, np.array([Boom()], object), allow_pickle=True)
        else:
            path.write_text("{")
    code, _, err = command(f"resume={run}", "run.progress=off", small_run=False)
    assert code == 0, err
    assert not list(tmp_path.rglob("exploded"))
    assert what_came_of(run) == what_came_of(finished.folder.path)


def test_damaged_pseudo_labels_are_made_anew(command, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    unfinished(run)
    damaged_labels(run)
    code, _, err = command(f"resume={run}", "run.progress=off", small_run=False)
    assert code == 0, err
    assert what_came_of(run) == what_came_of(finished.folder.path)


@pytest.mark.parametrize("job", ["train", "plan", "check"])
def test_a_forgotten_data_set_is_told_and_nothing_is_written(command, tmp_path, job):
    """The built-in pictures are never drawn among the user's own."""
    root = write_folder(tmp_path / "data", masked=4)
    before = sorted(root.rglob("*"))
    refused(command, tmp_path, [f"job={job}", f"dataset.root={root}"], ["your pictures", "experiment=your_data"])
    assert sorted(root.rglob("*")) == before
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("job", ["plan", "check"])
def test_looking_makes_no_folder(command, tmp_path, job):
    command(f"job={job}", f"dataset.root={tmp_path / 'no' / 'such'}", small_run=True)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("device", ["mps", "xpu", "cuda:7"])
def test_devices_that_are_not_there_are_told(command, tmp_path, device):
    refused(command, tmp_path, [f"run.device={device}"], ["run.device", device], small_run=True)


@pytest.mark.parametrize("opset", [9, 11, 17])
def test_opsets_that_cannot_be_written_are_told_before_anything_is_traced(command, finished, tmp_path, opset):
    arguments = ["job=export", f"run={finished.folder.path}", "format=onnx", f"job.opset={opset}", "output=out"]
    refused(command, tmp_path, arguments, ["job.opset", "18 or more"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("override", ["+model_c=dpt", "+model.weights.c=null", "+model.normalization.q=caffe"])
def test_a_network_that_no_phase_trains_has_no_options(command, tmp_path, override):
    refused(command, tmp_path, [override], ["there is no network", "the plan trains a and b"], small_run=True)


def test_there_are_many_cases():
    assert len(SETTINGS) + len(FILES) + len(LAYOUT) + len(RUNS) >= 60


@pytest.mark.parametrize("id", ["../../outside", "/outside", "a/../../../outside", "..\\outside"])
def test_pseudo_labels_and_pictures_stay_in_the_run_folder(finished, tmp_path, id):
    """Even for ids that no data set would let through."""
    from dmtc.core.files import write_atomically
    from dmtc.pseudo import PseudoLabelStore
    from dmtc.report.pictures import Panel
    from dmtc.report.runs.images import ImageRow, draw_rows

    inside = tmp_path / "deep" / "run"
    PseudoLabelStore(inside / "labels").write(id, LABEL, LABEL.astype(np.uint16))
    panels = [Panel("image", np.zeros((8, 8, 3), np.uint8))] * 2
    for name, content in draw_rows([ImageRow(id, "most improved", 0.0, 0.0, panels)], finished.dataset).items():
        write_atomically(inside / "pictures" / name, content)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 2
    assert all(path.parent.parent == inside for path in written)
