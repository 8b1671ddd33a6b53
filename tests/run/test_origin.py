"""A run's parts belong together: weights, pseudo-labels, settings, split and plan of another run are refused."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

import dmtc
from alike import what_came_of
from dmtc.core.errors import ConfigError, DataError, UserError, WeightsError
from dmtc.engine.trainer import _CHECKPOINT_KEYS
from dmtc.pseudo import PseudoLabelStore
from dmtc.run.checkpoints import Checkpoints
from dmtc.run.folder import RunFolder
from dmtc.run.origin import fingerprint
from dmtc.run.stored import digest

LAST = "phases/r2-a/last.safetensors"


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A finished run that may be spoiled."""
    return shutil.copytree(finished.folder.path, tmp_path / "run")


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    if path.name == "phase.json":
        content.pop("sha256")  # which would tell that it was changed
        content["sha256"] = digest(content)
    path.write_text(json.dumps(content))


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def stop_before(folder: Path, *phases: str) -> None:
    """Make a finished run one that was stopped before its last phases."""
    (folder / "results.json").unlink()
    for phase in phases:
        shutil.rmtree(folder / "phases" / phase)


@pytest.mark.parametrize("which", ["last", "best"])
def test_one_flipped_bit_of_weights_is_noticed(copy, which):
    path = copy / "phases" / "r2-b" / f"{which}.safetensors"
    flip(path, 0.9)
    with pytest.raises(
        WeightsError, match=rf"{path} is damaged or another file than was written: its SHA-256 .* put it"
    ):
        dmtc.Run.load(copy).model("b", which=which)


@pytest.mark.parametrize(
    "arguments",
    [
        ("job=evaluate", "run={run}"),
        ("job=export", "run={run}", "format=safetensors", "output={run}-out"),
        ("job=predict", "run={run}", "input={run}/pictures.png", "output={run}-out"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_nothing_is_made_of_damaged_weights(copy, command, arguments, finished):
    import cv2

    cv2.imwrite(str(copy / "pictures.png"), finished.pseudo_labels("r1-a")[0].image)
    flip(copy / LAST)
    code, _, err = command(*[argument.format(run=copy) for argument in arguments], small_run=False)
    assert code == 2, err
    assert f"{LAST} is damaged" in err.strip().splitlines()[-1]
    assert not Path(f"{copy}-out").exists()


def test_records_point_to_what_is_there(finished):
    from dmtc.models.weights.files import sha256_of

    folder = finished.folder
    for phase in finished.plan:
        record = folder.read_phase(phase.name)
        for which in ("last", "best"):
            assert record.weights[which] == sha256_of(folder.weights_path(phase.name, which))
        origin = record.made_from
        assert origin["settings"] == fingerprint(finished.config) == folder.read_settings()["sha256"]
        assert origin["split"] == finished.split.sha256
        if phase.init_from:
            assert origin["weights"] == folder.read_phase(phase.init_from).weights["last"]
        if phase.label_from:
            store = folder.store(phase.label_from)
            assert origin["pseudo_labels"] == store.sha256()
            assert store.facts()["teacher"] == folder.read_phase(phase.label_from).weights["last"]
    assert [phase["weights"] for phase in finished.results["phases"]] == [
        folder.read_phase(phase.name).weights for phase in finished.plan
    ]


def label_files(folder: Path, teacher: str) -> list[Path]:
    return sorted((folder / "pseudo_labels" / teacher).glob("*.zst"))


def swap(files: list[Path]) -> None:
    one, other = files[0].read_bytes(), files[1].read_bytes()
    assert one != other
    files[0].write_bytes(other)
    files[1].write_bytes(one)


@pytest.mark.parametrize("spoil", [lambda files: flip(files[3]), swap], ids=["flipped", "swapped"])
def test_damaged_pseudo_labels_are_noticed_and_made_again(copy, finished, capsys, spoil):
    expected = what_came_of(finished.folder.path)["files"]
    stop_before(copy, "r2-a", "r2-b")
    spoil(label_files(copy, "r1-b"))
    with pytest.raises(DataError, match=r"pseudo_labels/r1-b is damaged"):
        dmtc.Run.load(copy).pseudo_labels("r2-a")
    dmtc.resume(copy, {"progress": "lines"})
    assert "r1-b is damaged, or of another teacher; r1-b labels again" in capsys.readouterr().err
    assert what_came_of(copy)["files"] == expected


def test_every_flipped_bit_of_a_pseudo_label_that_matters_is_noticed_when_it_is_read(finished, tmp_path):
    """By the checksum of its own, while a phase reads the same files again and again."""
    id, store = finished.split.unlabelled[0], PseudoLabelStore(tmp_path)
    label, level = finished.folder.store("r0-a").read(id)
    store.write(id, label, level)
    (path,) = tmp_path.glob("*.zst")
    content, right = path.read_bytes(), [label.tobytes(), level.tobytes()]
    noticed = 0
    places = [*range(16), *range(16, len(content), 13)]
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert [part.tobytes() for part in store.read(id)] == right, place
        except DataError:
            noticed += 1
    assert noticed >= 0.8 * len(places)


@pytest.mark.parametrize("done", [True, False])
def test_settings_that_were_changed_by_hand_are_refused(copy, done):
    if not done:
        stop_before(copy, "r2-b")
    edit_config(copy, seed=8)
    told = r"config.yaml was changed after the run started; seed cannot be changed \(seed: 0 -> 8\)"
    with pytest.raises(ConfigError, match=told):
        dmtc.resume(copy)
    with pytest.raises(ConfigError, match=told):
        dmtc.Run.load(copy)


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (dmtc.resume, "settings.json"),
        (dmtc.resume, "split.json"),
        (dmtc.Run.load, "settings.json"),
        (dmtc.Run.load, "split.json"),
        (dmtc.Run.load, "task.json"),
    ],
)
def test_a_file_that_every_run_has_and_that_is_gone_is_told(copy, way, name):
    (copy / name).unlink()
    with pytest.raises(DataError, match=name) as told:
        way(copy)
    assert "\n" not in str(told.value)


def test_what_cannot_change_results_may_be_changed_by_hand(copy):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    edit_config(copy, run=config["run"] | {"workers": 1, "log_every": 3}, tag="other", logger={})
    assert dmtc.Run.load(copy).model("a") is not None


def test_another_split_under_the_same_name_is_refused(copy):
    from dmtc.splits import Split

    split = RunFolder(copy).read_split()
    labelled = (split.unlabelled[0], *split.labelled[1:])
    unlabelled = (split.labelled[0], *split.unlabelled[1:])
    other = Split(
        name=split.name,
        ratio=split.ratio,
        labelled=labelled,
        unlabelled=unlabelled,
        subsets={"a": labelled, "b": labelled},
    )
    RunFolder(copy).write_split(other, RunFolder(copy).read_data())
    for way in (dmtc.resume, dmtc.Run.load):
        with pytest.raises(DataError, match="phase r0-a was made with a split other than split"):
            way(copy)


@pytest.mark.parametrize("change", [{"trainee": "b"}, {"label_from": "r1-a"}, {"steps": 3}, {"label_ratio": 0.7}])
def test_another_plan_is_refused(copy, change):
    edit(copy / "plan.json", lambda plan: plan[4].update(change))
    for way in (dmtc.resume, dmtc.Run.load):
        with pytest.raises(UserError, match=r"plan.json"):
            way(copy)


def test_a_phase_of_another_run_is_refused(copy, small, tmp_path):
    """Even of one with the same settings, as a GPU may give other networks each time."""
    network = load_file(copy / "phases/r0-a/last.safetensors")
    next(iter(network.values())).add_(1)
    save_file(network, copy / "phases/r0-a/last.safetensors")
    from dmtc.models.weights.files import sha256_of

    other = sha256_of(copy / "phases/r0-a/last.safetensors")
    edit(copy / "phases/r0-a/phase.json", lambda record: record["weights"].update(last=other))
    with pytest.raises(DataError, match="phase r1-a began from other weights of r0-a than those that are there now"):
        dmtc.resume(copy)


def test_labels_of_another_teacher_are_made_anew(copy, finished, capsys):
    expected = what_came_of(finished.folder.path)["files"]
    stop_before(copy, "r2-a", "r2-b")
    edit(copy / "pseudo_labels/r1-b/store.json", lambda facts: facts.update(teacher="0" * 64))
    dmtc.resume(copy, {"progress": "lines"})
    assert "of another teacher; r1-b labels again" in capsys.readouterr().err
    assert what_came_of(copy)["files"] == expected


def test_a_checkpoint_of_other_settings_is_refused(copy):
    stop_before(copy, "r2-b")
    folder = RunFolder(copy)
    origin = {"settings": "0" * 64, "split": None, "weights": None, "pseudo_labels": None}
    Checkpoints(copy / "phases" / "r2-b").save(1, dict.fromkeys(_CHECKPOINT_KEYS) | {"made_from": [origin]})
    with pytest.raises(ConfigError, match=r"phase r2-b was made with other settings than config.yaml has now"):
        dmtc.resume(folder.path)


def test_a_checkpoint_that_lacks_something_is_told(copy):
    stop_before(copy, "r2-b")
    Checkpoints(copy / "phases" / "r2-b").save(1, {"step": 1})
    told = r"checkpoint-00000001-\w+\.pt is damaged, or of another version of dmtc: it has no seconds; delete it"
    with pytest.raises(DataError, match=told):
        dmtc.resume(copy)
