"""MLflow by its own client, in a database file, read back by the client. No network."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import dmtc
from alike import what_came_of
from dmtc.evaluation.scores import Scores
from dmtc.tracking import MLflowLogger, Panel
from stopping import stopped_and_resumed

if TYPE_CHECKING:  # it takes seconds
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.slow  # importing MLflow and making its database take half a minute


@pytest.fixture(autouse=True, scope="module")
def mlflow_stays_here(tmp_path_factory):
    """MLflow keeps nothing outside of the test's folders, and tells nobody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mlflow"))  # where it puts pictures of a database without a server
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
            patch.delenv(name, raising=False)
        patch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
        yield


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


@pytest.fixture(scope="module")
def logged(client, small, tmp_path_factory) -> dmtc.Run:
    """A run that was stopped before r1-b and gone on with."""
    options = [f"logger.mlflow.tracking_uri={client.tracking_uri}", "logger.mlflow.artifacts=[report,weights]"]
    folder = tmp_path_factory.mktemp("logged") / "run"
    config = dmtc.compose([*small, "logger=mlflow", *options, "+logger.mlflow.tags.note=first try", "run.report=true"])
    return stopped_and_resumed(config, folder, before="r1-b")


@pytest.fixture(scope="module")
def kept(client, logged) -> Run:
    experiment = client.get_experiment_by_name("dmtc")
    (run,) = client.search_runs([experiment.experiment_id])  # one, although it was stopped
    return run


def test_mlflow_changes_no_results(logged, finished):
    ours, others = what_came_of(logged.folder.path), what_came_of(finished.folder.path)
    assert ours == others


def test_the_run_is_known_by_its_id(logged, kept):
    assert kept.data.tags["dmtc.run_id"] == logged.results["environment"]["run_id"]
    assert kept.data.tags["dmtc.folder"] == str(logged.folder.path)
    assert kept.data.tags["note"] == "first try"
    assert "sweep" not in kept.data.tags
    assert (kept.info.run_name, kept.info.status) == ("run", "FINISHED")


def test_settings_are_params(logged, kept):
    params = kept.data.params
    assert params["method.name"] == "dmtc"
    assert params["schedule.rounds.label_ratios"] == "[0.5, 1.0]"
    assert params["seed"] == "0"
    assert params["resume"] == "null"
    assert float(params["loss.mutual.gamma_agree"]) == logged.config["loss"]["mutual"]["gamma_agree"]
    assert len(params) > 100


def test_every_record_is_there_once_by_the_steps_of_its_network(client, logged, kept):
    for network in ("a", "b"):
        records = [record for record in logged.metrics if record["network"] == network and "loss" in record]
        history = client.get_metric_history(kept.info.run_id, f"{network}/loss")
        assert [(one.step, one.value) for one in history] == [(one["total_step"], one["loss"]) for one in records]


def test_scores_of_every_round_and_at_the_end(client, logged, kept):
    def by_step(name: str) -> dict[int, float]:
        return {one.step: one.value for one in client.get_metric_history(kept.info.run_id, name)}

    of_b = [record for record in logged.results["phases"] if record["trainee"] == "b"]
    assert by_step("rounds/b/miou_last") == {record["round"]: record["miou_last"] for record in of_b}
    assert by_step("rounds/b/pseudo_coverage") == {
        one["round"]: one["pseudo"]["coverage"] for one in of_b if one["pseudo"]
    }
    assert by_step("iou/b/background") == {record["round"]: record["iou_last"][0] for record in of_b}
    miou = logged.results["miou"]
    assert set(by_step("rounds/ensemble/miou_last")) == {0, 1, 2}
    assert by_step("rounds/ensemble/miou_last")[2] == miou["ensemble"]
    assert kept.data.metrics["final/miou"] == miou["mean_last"]
    assert kept.data.metrics["final/miou_ensemble"] == miou["ensemble"]


def artifacts(client, run, path) -> list[str]:
    return [one.path for one in client.list_artifacts(run.info.run_id, path)]


def test_pictures_are_images_by_round(client, logged, kept):
    assert artifacts(client, kept, "final") == ["final/confusion.png"]
    names = [name for name in artifacts(client, kept, "images") if name.endswith(".png")]
    of_rounds = {network: [name for name in names if f"images~{network}~" in name] for network in "ab"}
    assert {network: len(of) for network, of in of_rounds.items()} == {"a": 3 * 4, "b": 3 * 4}
    assert len([name for name in names if "worst" in name]) > 0


def test_weights_can_be_predicted_with(client, logged, kept, tmp_path):
    folder = client.download_artifacts(kept.info.run_id, "weights", str(tmp_path))
    run, image = dmtc.Run.load(folder), logged.dataset.image(logged.dataset.val[0])
    np.testing.assert_array_equal(run.predict(image), logged.predict(image))
    assert run.results["miou"] == logged.results["miou"]
    report = {name.partition("/")[2] for name in artifacts(client, kept, "report")}
    assert {"report.html", "results.json", "config.yaml", "pictures"} <= report


def test_names_and_values_that_mlflow_does_not_take_are_made_to_fit(client, tmp_path):
    dataset = SimpleNamespace(classes=("straße (naß)", "c#"), colored=lambda label: label[..., None].repeat(3, 2))
    options = {"experiment": "añb (1)", "group": "seeds", "tags": {}, "panels": 1, "ensemble": True, "artifacts": []}
    facts = {"run_id": "x", "command": ["dmtc", "seed=1"], "commit": None}
    given = {"config": {"tag": "t" * 7000, "größe": [1]}, "environment": facts, "dataset": dataset}
    logger = MLflowLogger(folder=tmp_path, tracking_uri=client.tracking_uri, timeout=1, **given, **options)
    logger.ensemble(3, Scores(0.5, (0.25, None)))
    logger._draw(
        "images/a/größe#1", Panel("größe#1", np.zeros((4, 4, 3), np.uint8), None, np.zeros((4, 4), np.uint8)), 0
    )
    logger.close()
    (run,) = client.search_runs([client.get_experiment_by_name("añb (1)").experiment_id])
    assert run.data.params == {"tag": "t" * 6000, "gr__e": "[1]"}
    assert run.data.metrics == {"rounds/ensemble/miou_last": 0.5, "iou/ensemble/stra_e _na__": 0.25}
    assert (run.data.tags["sweep"], run.data.tags["mlflow.source.name"]) == ("seeds", "dmtc seed=1")
    assert run.info.status == "KILLED"
    assert [name for name in artifacts(client, run, "images") if name.endswith(".png")]


def test_a_server_that_is_not_there_is_one_line_and_training_goes_on(small, tmp_path, capfd):
    options = ["logger=mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9", "logger.mlflow.timeout=1"]
    run = dmtc.train(dmtc.compose([*small, "method=supervised", *options, "run.progress=off"]), tmp_path / "run")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("WARNING: logger mlflow failed (")
    assert "sqlite:///mlflow.db" in lines[0]
    assert len(run.metrics) == 2
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["run_id"]
