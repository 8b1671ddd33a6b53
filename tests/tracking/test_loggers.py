"""W&B by its own client, offline, read back from the files it writes; TensorBoard likewise. No network."""

import http.server
import io
import json
import re
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import wandb
from wandb.proto.wandb_internal_pb2 import Record

import dmtc
from alike import what_came_of
from dmtc.core.errors import ConfigError
from dmtc.engine.context import RunContext
from dmtc.evaluation import evaluate
from dmtc.machine.interruption import Interruption
from dmtc.report.panels import _fitted
from dmtc.tracking import LOGGERS, Panel, Tracker
from dmtc.tracking.progress import Progress
from stopping import stopped_and_resumed
from wandb_files import history_of, records_of, values_of

DOCS = (Path(__file__).parents[2] / "docs" / "wandb.md").read_text()
LOGGED = [
    *("logger=[csv,wandb,tensorboard]", "logger.wandb.mode=offline", "logger.wandb.artifacts=[code,report,weights]"),
    "run.report=true",
]


@pytest.fixture(autouse=True, scope="module")
def wandb_stays_here(tmp_path_factory):
    """W&B keeps nothing outside of the test's folders, and finds no key."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
            patch.setenv(name, str(folder))
        patch.setenv("NETRC", str(folder / "netrc"))
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def logged(small, tmp_path_factory) -> dmtc.Run:
    """A run that was stopped before r1-b and gone on with, with all loggers."""
    folder = tmp_path_factory.mktemp("logged") / "run"
    return stopped_and_resumed(dmtc.compose([*small, *LOGGED]), folder, before="r1-b")


@pytest.fixture(scope="module")
def sessions(logged) -> list[list[Record]]:
    """What the W&B client wrote before and after the stop."""
    return [records_of(path) for path in sorted(logged.folder.path.glob("wandb/offline-run-*/*.wandb"))]


@pytest.fixture(scope="module")
def history(sessions) -> list[dict]:
    """Every call of `log`, in order."""
    return [values for session in sessions for values in history_of(session)]


def only(session: list[Record], kind: str) -> list:
    return [getattr(record, kind) for record in session if record.WhichOneof("record_type") == kind]


def test_loggers_change_no_results(logged, finished):
    ours, others = what_came_of(logged.folder.path), what_came_of(finished.folder.path)
    assert ours == others


def test_a_resumed_run_goes_on_under_the_same_id(logged, sessions):
    assert len(sessions) == 2
    identity = logged.results["environment"]["run_id"]
    for session in sessions:
        (run,) = only(session, "run")
        assert (run.run_id, run.project, run.job_type, run.display_name) == (identity, "dmtc", "train", "run")
    assert [only(session, "exit")[0].exit_code for session in sessions] == [1, 0]


def test_config_and_environment_are_whole(logged, sessions):
    for session in sessions:
        config = values_of(only(session, "run")[0].config.update)
        environment = config.pop("environment")
        config.pop("_wandb")
        assert config == logged.config
        assert environment == json.loads((logged.folder.path / "environment.json").read_text())


def test_every_record_is_sent_once_over_the_steps_of_its_network(logged, sessions, history):
    for network in ("a", "b"):
        sent = [values for values in history if f"{network}/step" in values]
        records = [record for record in logged.metrics if record["network"] == network]
        assert [values[f"{network}/step"] for values in sent] == [record["total_step"] for record in records]
        assert [values.get(f"{network}/loss") for values in sent] == [record.get("loss") for record in records]
    steps = [values["a/step"] for values in history if "a/step" in values]
    assert steps == sorted(steps)
    assert set(steps) == {2, 4, 6}
    known = set().union(*history)
    for name in ("contrastive", "learning_rate", "images_per_s", "memory_bytes", "gradient_norm", "miou"):
        assert f"a/{name}" in known
    for name in ("mutual", "mutual/disagree", "mutual/student_wins", "mutual/mean_weight"):
        assert f"b/{name}" in known
    axes = {metric.glob_name: metric.step_metric for session in sessions for metric in only(session, "metric")}
    assert axes["a/*"] == "a/step"
    assert axes["rounds/*"] == axes["iou/*"] == axes["images/*"] == "round"


def test_scores_of_every_round(logged, history):
    sent = {(values["round"], name): values[name] for values in history if "round" in values for name in values}
    for record in logged.results["phases"]:
        at, network, pseudo = record["round"], record["trainee"], record["pseudo"]
        assert sent[at, f"rounds/{network}/miou_last"] == record["miou_last"]
        for place, name in enumerate(logged.dataset.classes):
            assert sent.get((at, f"iou/{network}/{name}")) == record["iou_last"][place]
        if pseudo is None:
            assert (at, f"rounds/{network}/pseudo_coverage") not in sent
            continue
        assert sent[at, f"rounds/{network}/label_ratio"] == record["label_ratio"]
        assert sent[at, f"rounds/{network}/pseudo_coverage"] == pseudo["coverage"]
        assert sent[at, f"rounds/{network}/pseudo_miou"] == pseudo["miou"]
        sections = {"precision": "precision", "recall": "recall", "threshold": "thresholds", "realized": "realized"}
        for section, key in sections.items():
            for place, name in enumerate(logged.dataset.classes):
                assert sent.get((at, f"{section}/{network}/{name}")) == pseudo[key][place]


def files_of(run: dmtc.Run, name: str) -> np.ndarray:
    (path,) = run.folder.path.glob(f"wandb/offline-run-*/files/{name}")
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return picture if picture.ndim == 2 else picture[..., :3]


def test_panels_have_masks_that_can_be_switched(logged, history):
    panels = {
        (values["round"], n): values[f"images/{n}"] for values in history for n in "ab" if f"images/{n}" in values
    }
    assert set(panels) == {(at, network) for at in range(3) for network in "ab"}
    captions = [panel["captions"] for (_, network), panel in panels.items() if network == "a"]
    assert [[text.split()[0] for text in texts] for texts in captions] == [[f"r{at}-a"] * 4 for at in range(3)]
    ids = [text.split()[1] for text in captions[0]]
    assert all([text.split()[1] for text in texts] == ids for texts in captions), "the same images after every round"
    assert set(ids) <= set(logged.split.unlabelled)

    assert set(panels[0, "a"]["all_masks"][0]) == {"truth", "prediction"}
    round_1, pseudo = panels[1, "a"], logged.pseudo_labels("r1-a").of(ids[1])
    masks = {name: files_of(logged, mask["path"]) for name, mask in round_1["all_masks"][1].items()}
    assert set(masks) == {"truth", "pseudo-label", "prediction", "confidence", "weight"}
    student = logged.student("r1-a", pseudo, trained=True)
    np.testing.assert_array_equal(masks["truth"], pseudo.truth)
    np.testing.assert_array_equal(masks["pseudo-label"], pseudo.label)
    np.testing.assert_array_equal(masks["confidence"], np.clip(pseudo.confidence * 10, 0, 9).astype(int))
    assert (masks["prediction"] == student.label).mean() > 0.99
    assert ((masks["weight"] == 0) == (student.weight == 0)).mean() > 0.99
    assert masks["weight"][pseudo.label == 255].max() == 0
    image = files_of(logged, round_1["filenames"][1])[..., ::-1]
    np.testing.assert_array_equal(image, pseudo.image)


def test_the_confusion_matrix_is_a_picture_and_not_in_the_summary(logged, history):
    (sent,) = (values["final/confusion"] for values in history if "final/confusion" in values)
    picture = files_of(logged, sent["path"])
    assert picture.shape == (sent["height"], sent["width"], 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
    assert np.sum(logged.results["confusion"]) > 0


def test_the_worst_images_are_a_table(logged, sessions, history):
    (table,) = (values["worst/b"] for values in history if values.get("round") == 2 and "worst/b" in values)
    (path,) = logged.folder.path.glob(f"wandb/offline-run-*/files/{table['path']}")
    content = json.loads(path.read_text())
    assert content["columns"] == ["phase", "id", "wrong", "image"]
    worst = logged.pseudo_label_quality("r2-b").worst(4)
    assert [row[:3] for row in content["data"]] == [["r2-b", image.id, image.wrong] for image in worst]
    tables = [artifact for artifact in only(sessions[-1], "artifact") if artifact.type == "run_table"]
    held = [content.path for content in tables[-1].manifest.contents]
    assert len([path for path in held if path.startswith("media/images/") and path.endswith(".mask.png")]) == 4 * 5


def test_the_summary_is_the_results(logged, sessions):
    summary: dict = {}
    for record in only(sessions[-1], "summary"):
        summary |= values_of(record.update)
    assert {name: summary[name] for name in logged.results if name != "confusion"} == {
        name: value for name, value in logged.results.items() if name != "confusion"
    }


def test_final_scores_are_at_the_top_of_the_summary_and_are_logged(logged, history):
    (final,) = (
        {key: value for key, value in values.items() if "/" in key} for values in history if "final/miou" in values
    )
    miou = logged.results["miou"]
    assert final == {
        "final/miou": miou["mean_last"],
        "final/miou_a": miou["a"]["last"],
        "final/miou_b": miou["b"]["last"],
        "final/miou_ensemble": miou["ensemble"],
    }


def test_the_ensemble_of_every_round_is_scored(logged, history):
    scored = {values["round"]: values for values in history if "rounds/ensemble/miou_last" in values}
    assert set(scored) == {0, 1, 2}
    assert scored[2]["rounds/ensemble/miou_last"] == logged.results["miou"]["ensemble"]
    assert scored[2]["rounds/ensemble/f1"] == logged.results["metrics"]["f1"]["ensemble"]
    assert scored[2]["iou/ensemble/background"] == logged.results["per_class_iou"]["background"]

    networks = {network: logged.model(network, f"r1-{network}") for network in "ab"}
    context = RunContext(logged.components, logged.folder, Progress([], "off"), Interruption())
    batches = context.whole_images(logged.dataset.val, with_mask=True)
    with torch.inference_mode():
        *_, ensemble = evaluate(networks, batches, logged.dataset.num_classes, logged.components.evaluation).values()
    assert scored[1]["rounds/ensemble/miou_last"] == pytest.approx(ensemble.miou)
    assert scored[1]["rounds/ensemble/miou_last"] != scored[2]["rounds/ensemble/miou_last"]


def test_code_report_and_weights_are_artifacts(logged, sessions):
    artifacts = {artifact.type: artifact for artifact in only(sessions[-1], "artifact")}
    held = {kind: {content.path for content in artifact.manifest.contents} for kind, artifact in artifacts.items()}
    assert {"engine/trainer.py", "cli/main.py"} <= held["code"]
    assert {"report.html", "results.json", "results.txt", "config.yaml"} <= held["report"]
    assert any(path.startswith("pictures/") for path in held["report"])
    assert {"config.yaml", "plan.json", "phases/r2-a/last.safetensors", "phases/r2-b/last.safetensors"} <= held["model"]
    assert not [path for path in held["model"] if "r1-" in path or "best" in path]


def test_documented_keys_are_sent(history):
    table = DOCS.split("| key | over | |\n")[1].split("\n\n")[0]
    sent, documented = set().union(*history), []
    rows = [row for row in table.splitlines()[1:] if "of a teacher within the step" not in row]  # this run has none
    for row in rows:
        keys = re.findall(r"`([^`]+)`", row.split("|")[1])
        documented += [key if "/" in key else f"{keys[0].rpartition('/')[0]}/{key}" for key in keys]
        documented += re.findall(r"`([^`]+)`", row.split("|")[2])
    assert len(documented) > 25
    assert {key.replace("CLASS", "background") for key in documented} <= sent


def test_documented_options_are_all_there_are():
    table = DOCS.split("| `logger.wandb.` | | |\n")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[1:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named | {"name"} == set(dmtc.compose(["logger=wandb"]).logger.wandb)


def test_documented_logger_works(command, tmp_path):
    code = DOCS.split("```python\n# my_loggers.py\n")[1].split("```")[0]
    (tmp_path / "my_loggers.py").write_text(code)
    exit_code, out, err = command(
        "method=supervised", "imports=[my_loggers]", "+logger.mine={name: shout, loudness: 3}"
    )
    assert exit_code == 0, err
    assert re.search(r"r0-a: 0\.\d+!!!\n", out)


def test_tensorboard_has_the_same_values_and_pictures(logged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logged.folder.path / "tensorboard")).Reload()
    losses = [(record["total_step"], record["loss"]) for record in logged.metrics if "loss" in record]
    assert [(e.step, e.value) for e in events.Scalars("a/loss")] == [
        (step, pytest.approx(value)) for step, value in losses[::2]
    ]
    last = logged.results["phases"][-1]
    assert events.Scalars("rounds/b/miou_last")[-1].value == pytest.approx(last["miou_last"])
    assert events.Scalars("recall/b/background")[-1].value == pytest.approx(last["pseudo"]["recall"][0])
    tags = events.Tags()["images"]
    assert len([tag for tag in tags if tag.startswith("images/a/")]) == 4
    assert len([tag for tag in tags if tag.startswith("worst/b/")]) == 4
    picture = next(tag for tag in tags if tag.startswith("images/a/"))
    widths = [image.width for image in events.Images(picture)]
    assert widths == [3 * 48, 6 * 48, 6 * 48], "image, truth, prediction; in the rounds all six"
    hparams = EventAccumulator(str(logged.folder.path / "tensorboard" / "results")).Reload()
    assert hparams.Scalars("miou/mean_last")[0].value == pytest.approx(logged.results["miou"]["mean_last"])


def test_supervised_runs_show_validation_images(small, tmp_path):
    options = ["method=supervised", "logger=wandb", "logger.wandb.mode=offline", "logger.wandb.panels=2"]
    dmtc.train(dmtc.compose([*small, *options]), tmp_path / "run")
    (path,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    (panels,) = (values["images/a"] for values in history_of(records_of(path)) if "images/a" in values)
    assert [text.split()[1] for text in panels["captions"]] == ["val_00000", "val_00003"]
    assert set(panels["all_masks"][0]) == {"truth", "prediction"}


class Answering401(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering401) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.mark.parametrize(
    ("case", "reason"),
    [("no key", "No API key configured"), ("wrong key", "401"), ("no network", "connection refused")],
)
def test_w_and_b_that_cannot_be_reached_is_one_line_and_training_goes_on(
    small, tmp_path, monkeypatch, capfd, server, case, reason
):
    wandb.teardown()  # what it has read from the environment before, it does not read again
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9" if case == "no network" else server)
    if case != "no key":
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    quick = ["method=supervised", "logger=wandb", "logger.wandb.timeout=1", "run.progress=off"]
    run = dmtc.train(dmtc.compose([*small, *quick]), tmp_path / "run")
    assert run.results["miou"]["mean_last"] >= 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "wandb: " not in line]
    assert len(lines) == 1
    assert lines[0].startswith("WARNING: logger wandb failed (")
    assert reason in lines[0]
    assert len(run.metrics) == 2
    wandb.teardown()


def test_w_and_b_asks_for_no_key_at_a_terminal(small, tmp_path, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def init(**options):
        raise ValueError("asked" if sys.stdin.isatty() else "raised")

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(wandb, "init", init)
    dmtc.train(dmtc.compose([*small, "method=supervised", "logger=wandb"]), tmp_path / "run")
    assert "logger wandb failed (raised;" in capsys.readouterr().err
    assert sys.stdin is terminal


def test_large_images_are_drawn_smaller():
    generator = np.random.default_rng(0)
    label = generator.integers(0, 3, (70, 100), np.uint8).repeat(10, 0).repeat(10, 1)
    image, weight = label[..., None].repeat(3, 2), label.astype(np.float32)
    panel = _fitted(Panel("x", image, None, label, label, weight, weight))
    assert panel.image.shape == (448, 640, 3)
    assert panel.truth is None
    for part in (panel.prediction, panel.pseudo_label, panel.confidence, panel.weight):
        assert part is not None
        assert part.shape == (448, 640)
        assert set(np.unique(part)) == {0, 1, 2}, "no class between two others is made up"


def test_group_is_the_sweep(command, tmp_path):
    sweep = (
        "-m",
        "method=supervised",
        "seed=0,1",
        "logger=wandb",
        "logger.wandb.mode=offline",
        "logger.wandb.panels=0",
    )
    code, _, err = command(*sweep, "hydra.sweep.dir=sweeps/mine")
    assert code == 0, err
    runs = {}
    for path in (tmp_path / "sweeps" / "mine").glob("*/wandb/offline-run-*/*.wandb"):
        (run,) = only(records_of(path), "run")
        runs[run.display_name] = run
    assert {name: run.run_group for name, run in runs.items()} == {"seed=0": "mine", "seed=1": "mine"}
    assert len({run.run_id for run in runs.values()}) == 2
    assert dmtc.compose(["logger=wandb"]).logger.wandb.group is None


def test_environment_variables_of_w_and_b_are_heeded(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    asked = dmtc.compose(["logger=wandb"]).logger.wandb
    assert (asked.mode, asked.project, asked.entity) == ("offline", "mine", None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["logger=wandb", "logger.wandb.mode=sometimes"], "online, offline or disabled"),
        (["logger=wandb", "logger.wandb.artifacts=[all]"], "code, report and weights, but not 'all'"),
        (["logger=mlflow", "logger.mlflow.artifacts=[code]"], "report and weights, but not 'code'"),
    ],
)
def test_wrong_options_are_errors(small, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        dmtc.train(dmtc.compose([*small, *options]), tmp_path / "run")


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow"])
def test_a_missing_package_is_told(small, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    if name == "tensorboard":
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ConfigError, match=f"logger={name} needs the package {name}"):
        dmtc.train(dmtc.compose([*small, f"logger={name}"]), tmp_path / "run")


def test_a_logger_of_ones_own_hears_of_everything(small, tmp_path):
    heard = []

    @LOGGERS.register("hearing")
    class Hearing(Tracker):
        panels = 1

        def phase(self, record, panels, worst):
            heard.append((record.name, [type(panel) for panel in (*panels, *worst)]))

    config = dmtc.compose([*small, "method=cbst", "+logger.mine.name=hearing"])
    dmtc.train(config, tmp_path / "run")
    assert heard == [("r0-a", [Panel]), ("r1-a", [Panel, Panel]), ("r2-a", [Panel, Panel])]
