import json
import os
import shutil

import numpy as np
import pytest
import torch

import dmtc
from alike import timeless, what_came_of
from dmtc.core.errors import ConfigError, DataError
from dmtc.engine.runner import Runner
from dmtc.pseudo import PseudoLabelStore


def test_results_hold_the_contract(finished):
    results = json.loads((finished.folder.path / "results.json").read_text())
    assert results == finished.results
    assert results["method"] == "dmtc"
    assert results["dataset"] == "synthetic"
    assert results["num_classes"] == 7
    assert results["split"] | {"sha256": "", "name": ""} == {
        "name": "",
        "ratio": "1/8",
        "labelled": 3,
        "unlabelled": 21,
        "sha256": "",
    }
    assert len(results["split"]["sha256"]) == 64
    assert results["seed"] == 0
    assert results["device"] == "cpu"
    assert results["version"] == dmtc.__version__
    for network in ("a", "b"):
        assert 0 <= results["miou"][network]["last"] <= results["miou"][network]["best"] <= 1
        assert 0 <= results["baseline"][network] <= 1
    assert 0 <= results["miou"]["ensemble"] <= 1
    assert list(results["per_class_iou"]) == list(finished.dataset.classes)
    assert [phase["name"] for phase in results["phases"]] == ["r0-a", "r0-b", "r1-a", "r1-b", "r2-a", "r2-b"]
    for phase in results["phases"]:
        for key in ("seconds", "train_images_per_s", "peak_memory_bytes"):
            assert phase[key] > 0
        if phase["label_from"]:
            assert phase["label_images_per_s"] > 0
            assert 0 < phase["pseudo"]["coverage"] <= 1
            assert 0 <= phase["pseudo"]["miou"] <= 1
    last = results["phases"][-1]
    assert (last["trainee"], last["label_from"], last["label_ratio"]) == ("b", "r1-a", 1.0)
    assert last["pseudo"]["coverage"] == 1.0


def test_the_time_of_a_round_has_its_labelling_in_it(small, tmp_path, monkeypatch):
    real = PseudoLabelStore.facts
    monkeypatch.setattr(PseudoLabelStore, "facts", lambda store: real(store) | {"seconds": 1000.0})
    results = dmtc.train(dmtc.compose([*small, "method=cbst"]), tmp_path).results
    assert [phase["seconds"] // 1000 for phase in results["phases"]] == [0, 1, 1]
    assert results["seconds"] // 1000 == 2


def test_a_run_reads_back_from_its_folder(finished):
    run = dmtc.Run.load(finished.folder.path)
    assert run.results == finished.results
    assert run.plan == finished.plan
    assert run.split == finished.split
    assert run.networks == ["a", "b"]


def test_pseudo_labels_of_a_phase(finished):
    labels = finished.pseudo_labels("r1-a")
    assert len(labels) == 21
    one = labels[0]
    assert one.image.shape == (48, 48, 3)
    assert (one.label.dtype, one.confidence.dtype, one.truth.dtype) == (np.uint8, np.float32, np.uint8)
    assert one.label.shape == one.confidence.shape == one.truth.shape == (48, 48)
    kept = np.mean([(labels[i].label != 255).mean() for i in range(len(labels))])
    assert kept == pytest.approx(finished.results["phases"][2]["pseudo"]["coverage"])
    everything = finished.pseudo_labels("r1-a", label_ratio=1.0)
    assert (everything[0].label != 255).all()
    with pytest.raises(ConfigError, match="phases with pseudo-labels: r1-a, r1-b, r2-a, r2-b"):
        finished.pseudo_labels("r0-a")


def test_pseudo_labels_are_the_other_networks_predictions(finished):
    teacher = finished.model("b", phase="r0-b")
    pseudo = finished.pseudo_labels("r1-a", label_ratio=1.0)[3]
    with torch.inference_mode():
        logits = teacher(torch.from_numpy(pseudo.image).permute(2, 0, 1)[None])
    assert (logits.argmax(1)[0].numpy() == pseudo.label).mean() > 0.999
    np.testing.assert_allclose(logits.softmax(1).amax(1)[0].numpy(), pseudo.confidence, atol=2e-3)


def test_teachers_and_students_have_the_last_weights_and_not_the_best(small, tmp_path, monkeypatch):
    """Of phases whose first of two scorings is better by far than the second."""
    from dmtc.engine import trainer

    real, train, scored, began = trainer.score_networks, trainer.Trainer.train, [], {}

    def first_is_best(*arguments, **options):
        ((network, scores),) = real(*arguments, **options).items()
        scored.append(network)
        return {network: type(scores)(0.9 if len(scored) % 2 else 0.1, scores.iou, scores.metrics)}

    def watched(self, models, *arguments):
        began[self.phase.name] = {name: value.clone() for name, value in models[0].state_dict().items()}
        return train(self, models, *arguments)

    monkeypatch.setattr(trainer, "score_networks", first_is_best)
    monkeypatch.setattr(trainer.Trainer, "train", watched)
    twice = ["schedule.start.evaluations=2", "schedule.rounds.evaluations=2", "schedule.rounds.label_ratios=[0.5]"]
    run = dmtc.train(dmtc.compose([*small, *twice, "schedule.limit_steps=4"]), tmp_path / "run")
    last, best = (run.model("b", "r0-b", which) for which in ("last", "best"))
    weights = {name: value for name, value in last.state_dict().items() if name.endswith("weight")}
    assert not all(value.equal(best.state_dict()[name]) for name, value in weights.items()), "they can be told apart"
    assert all(began["r1-b"][name].equal(value) for name, value in weights.items())
    pseudo = run.pseudo_labels("r1-a", label_ratio=1.0)[3]
    image = torch.from_numpy(pseudo.image).permute(2, 0, 1)[None]
    for model, alike in ((last, True), (best, False)):
        with torch.inference_mode():
            confidence = model(image).softmax(1).amax(1)[0].numpy()
        assert np.allclose(confidence, pseudo.confidence, atol=2e-3) == alike
    assert {(phase["miou_last"], phase["miou_best"]) for phase in run.results["phases"]} == {(0.1, 0.9)}
    assert run.results["miou"]["a"] == run.results["miou"]["b"] == {"last": 0.1, "best": 0.9}


def test_labels_come_from_labelled_images_and_pseudo_labels_from_unlabelled_ones(small, tmp_path, monkeypatch):
    """So no validation image is ever trained on, nor the mask of an unlabelled one."""
    from dmtc.batches import Loader

    real, masks, pseudo = Loader.crops, set(), set()

    def noting(self, steps):
        def noted():
            for requests in steps:
                for request in requests:
                    (masks if request.pseudo_labels is None else pseudo).add(request.id)
                yield requests

        return real(self, noted())

    monkeypatch.setattr(Loader, "crops", noting)
    run = dmtc.train(dmtc.compose([*small, "method=dmt", "schedule.limit_steps=6"]), tmp_path / "run")
    assert masks == set(run.split.labelled)
    assert pseudo == set(run.split.unlabelled)


def test_pseudo_labels_by_name_and_their_thresholds(finished):
    labels = finished.pseudo_labels("r1-a")
    np.testing.assert_array_equal(labels.of(labels.ids[2]).label, labels[2].label)
    one = labels[2]
    everything = finished.pseudo_labels("r1-a", label_ratio=1.0)[2]
    kept = one.confidence >= labels.thresholds[everything.label]
    np.testing.assert_array_equal(one.label, np.where(kept, everything.label, 255))


def test_quality_of_pseudo_labels_at_any_ratio(finished):
    quality = finished.pseudo_label_quality("r1-a")
    reported = finished.results["phases"][2]["pseudo"]
    assert quality.at(0.5).coverage == reported["coverage"]
    assert quality.scores.miou == reported["miou"]
    assert [image.id for image in quality.worst(8)] == [image["id"] for image in reported["worst"]]
    assert quality.at(1.0).coverage == 1
    with pytest.raises(ConfigError, match="phases with pseudo-labels: r1-a"):
        finished.pseudo_label_quality("r0-a")


@pytest.mark.parametrize("trained", [False, True])
def test_student_beside_its_teacher(finished, trained):
    pseudo = finished.pseudo_labels("r2-a")[1]
    student = finished.student("r2-a", pseudo, trained)
    model = finished.model("a", "r2-a" if trained else "r1-a")
    with torch.inference_mode():
        logits = model(torch.from_numpy(pseudo.image).permute(2, 0, 1)[None])
    own, label = logits.softmax(1)[0].numpy(), pseudo.label.astype(int)
    np.testing.assert_array_equal(student.label, own.argmax(0))
    np.testing.assert_allclose(student.confidence, own.max(0), rtol=1e-5)
    disagree = student.label != label
    wins = disagree & (own.max(0) > pseudo.confidence)
    np.testing.assert_array_equal(student.disagrees(pseudo.label), disagree)
    np.testing.assert_array_equal(student.wins(pseudo.label, pseudo.confidence), wins)
    gamma = finished.config["loss"]["gamma"]
    of_label = np.take_along_axis(own, label[None], 0)[0]
    np.testing.assert_allclose(student.weight, np.where(wins, 0, of_label**gamma), atol=1e-5)
    assert not student.disagrees(np.full_like(pseudo.label, 255)).any()


def test_student_of_a_loss_that_weighs_no_pixels(small, tmp_path):
    run = dmtc.train(dmtc.compose([*small, "method=cbst"]), tmp_path / "run")
    pseudo = run.pseudo_labels("r1-a")[0]
    np.testing.assert_array_equal(run.student("r1-a", pseudo).weight, pseudo.label != 255)


def test_metrics_and_runs_below_a_folder(finished, tmp_path):
    assert finished.metrics == [json.loads(line) for line in finished.folder.metrics_path.read_text().splitlines()]
    for number, name in enumerate(["later", "sooner", "unfinished"]):
        shutil.copytree(finished.folder.path, tmp_path / "sweep" / name)
        os.utime(tmp_path / "sweep" / name / "results.json", (1000 - number, 1000 - number))
    (tmp_path / "sweep" / "unfinished" / "results.json").unlink()
    runs = dmtc.load_runs(tmp_path)
    assert [run.folder.path.name for run in runs] == ["sooner", "later"]
    assert runs[0].results == finished.results
    with pytest.raises(DataError, match="no finished run below"):
        dmtc.load_runs(tmp_path / "nowhere")


def test_data_is_found_from_other_directories(small, tmp_path, monkeypatch, data_root):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(data_root, "data")
    run = dmtc.train(dmtc.compose([*small[1:], "dataset.root=data", "method=supervised"]), "run")
    monkeypatch.chdir(tmp_path / "there")
    again = dmtc.Run.load(run.folder.path)
    assert again.dataset.image(again.dataset.val[0]).shape == (48, 48, 3)
    assert not list((tmp_path / "there").iterdir()), "nothing is drawn anew"
    assert dmtc.resume(run.folder.path).results["miou"] == run.results["miou"]


def test_model_and_predict(finished):
    model = finished.model("a")
    assert not model.training
    images = torch.randint(0, 256, (2, 3, 20, 28), dtype=torch.uint8)
    with torch.inference_mode():
        logits = model(images)
        assert logits.shape == (2, 7, 20, 28)
        assert logits.allclose(model(images / 255), atol=1e-4)
    image = images[0].permute(1, 2, 0).numpy()
    mask = finished.predict(image)
    assert (mask.shape, mask.dtype) == ((20, 28), np.uint8)
    assert finished.predict(np.stack([image, image])).shape == (2, 20, 28)
    assert [m.shape for m in finished.predict([image, image[:10]])] == [(20, 28), (10, 28)]
    np.testing.assert_array_equal(finished.predict(image, ensemble="a"), logits[0].argmax(0).numpy())
    with pytest.raises(DataError, match=r"uint8 or float in \[0, 1\]"):
        finished.predict(image.astype(np.float32))
    with pytest.raises(ConfigError, match="no network 'c' in this run; it has a, b"):
        finished.model("c")


def test_same_seed_same_results_other_seed_others(small, tmp_path, finished):
    again = dmtc.train(dmtc.compose([*small, "run.workers=1"]), tmp_path / "again")
    other = dmtc.train(dmtc.compose([*small, "seed=1"]), tmp_path / "other")
    assert what_came_of(again.folder.path) == what_came_of(finished.folder.path)
    assert timeless(other.results)["phases"] != timeless(finished.results)["phases"]
    assert other.split == finished.split, "the labelled images are chosen by split.fold, not by seed"


@pytest.mark.parametrize("stop_at", ["r0-b", "r1-b", "r2-a"])
def test_resume_after_a_stop_between_phases_gives_the_same(small, tmp_path, finished, monkeypatch, stop_at):
    real = Runner._train

    def stopping(self, phases, processes):
        if phases[0].name == stop_at:
            raise KeyboardInterrupt
        return real(self, phases, processes)

    monkeypatch.setattr(Runner, "_train", stopping)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        dmtc.train(dmtc.compose(small), folder)
    with pytest.raises(DataError, match="is not finished; resume with"):
        _ = dmtc.Run.load(folder).results
    monkeypatch.setattr(Runner, "_train", real)
    dmtc.resume(folder)
    assert what_came_of(folder) == what_came_of(finished.folder.path)


def test_resume_makes_half_written_pseudo_labels_again(small, tmp_path, finished):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder.path, folder)
    (folder / "results.json").unlink()
    for phase in ("r2-a", "r2-b"):
        shutil.rmtree(folder / "phases" / phase)
    store = folder / "pseudo_labels" / "r1-a"
    (store / "store.json").unlink()
    next(store.glob("*.zst")).write_bytes(b"half")
    dmtc.resume(folder)
    assert what_came_of(folder) == what_came_of(finished.folder.path)


def test_supervised_has_one_network_and_looks_at_no_unlabelled_image(small, tmp_path, monkeypatch):
    from dmtc.data.dataset import Dataset

    seen = []
    real = Dataset.image
    monkeypatch.setattr(Dataset, "image", lambda self, id: seen.append(id) or real(self, id))
    run = dmtc.train(dmtc.compose([*small, "method=supervised"]), tmp_path / "run")
    assert run.results["miou"]["b"] is None
    assert run.results["miou"]["ensemble"] is None
    assert [phase["name"] for phase in run.results["phases"]] == ["r0-a"]
    assert set(seen) == {*run.split.labelled, *run.dataset.val}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", ["cbst", "dst", "naive", "flip", "online", "dmt"])
def test_every_method_runs(small, tmp_path, method):
    run = dmtc.train(dmtc.compose([*small, f"method={method}"]), tmp_path / "run")
    assert run.results["method"] == method
    assert len(run.results["phases"]) == (3 if method in ("cbst", "dst", "online") else 6)


@pytest.mark.parametrize("method", ["cbst", "fixmatch"])
def test_no_mask_of_an_unlabelled_image_is_needed(small, method, tmp_path):
    """All masks of unlabelled images are damaged; with the masks' truth unreadable only its score is missing."""
    first = dmtc.train(dmtc.compose([*small, f"method={method}"]), tmp_path / "first")
    damaged = tmp_path / "data"
    shutil.copytree(next(p for p in map(type(first.folder.path), [small[0].split("=")[1]])), damaged)
    stems = {id.split("/")[-1] for id in first.split.unlabelled}
    hit = 0
    for mask in damaged.rglob("labels/train/*.png"):
        if mask.stem in stems:
            mask.write_bytes(b"damaged")
            hit += 1
    assert hit == len(stems)
    run = dmtc.train(dmtc.compose([*small, f"method={method}", f"dataset.root={damaged}"]), tmp_path / "run")
    assert run.results["miou"] == first.results["miou"]
    assert [phase["pseudo"] and phase["pseudo"]["miou"] for phase in run.results["phases"]] == [None] * len(run.plan)


def test_table(finished):
    table = (finished.folder.path / "results.txt").read_text()
    for text in ("supervised start", "round 1", "coverage", "pseudo mIoU", "ensemble:", "background"):
        assert text in table


def test_metrics_are_one_json_object_a_line(finished):
    records = [json.loads(line) for line in finished.folder.metrics_path.read_text().splitlines()]
    assert {record["phase"] for record in records} == {phase.name for phase in finished.plan}
    assert all(record["step"] == 2 for record in records)
    rounds = [record for record in records if record["phase"] == "r1-a" and "loss" in record]
    assert "mutual/student_wins" in rounds[0]


def test_with_all_labels_a_method_is_its_start(small, tmp_path, capsys):
    """A sweep over label ratios may include `full` for every method; what is left out is told."""
    shown = ["run.progress=lines", "run.report=true", "run.pictures=1"]
    run = dmtc.train(dmtc.compose([*small, *shown, "split.ratio=full"]), tmp_path / "run")
    assert [phase["name"] for phase in run.results["phases"]] == ["r0-a", "r0-b"]
    assert 0 < run.results["miou"]["ensemble"] < 1
    assert run.results["split"]["unlabelled"] == 0
    assert (run.folder.path / "report.html").is_file()
    lines = capsys.readouterr().err.splitlines()
    names = "r1-a, r1-b, r2-a, r2-b"
    assert f"no image is unlabelled: the phases that learn from pseudo-labels are left out ({names})" in lines


def test_what_became_of_starting_weights_is_kept_of_the_starts_alone(finished):
    for phase in finished.plan:
        report = finished.folder.read_weights_report(phase.name)
        if phase.init_from is None:
            assert report == json.loads(
                (finished.folder.path / f"phases/{phase.name}/starting_weights.json").read_text()
            )
        else:
            assert report is None
