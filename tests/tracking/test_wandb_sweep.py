"""A sweep of the W&B agent: its command lines, made by W&B's own code from the file in the documentation."""

import json
from pathlib import Path

import yaml

import dmtc
from dmtc.config.overrides import translate
from dmtc.run.folder import RunFolder
from dmtc.run.identity import run_id
from wandb_files import history_of, records_of

DOCS = (Path(__file__).parents[2] / "docs" / "wandb.md").read_text()
SWEEP = yaml.safe_load(DOCS.split("```yaml\n# sweep.yaml\n")[1].split("```")[0])


def command_line(command: list[str], values: dict) -> list[str]:
    """What the agent runs for some values of the parameters."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args  # it takes seconds

    filled = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    filled |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [SWEEP["program"]]}
    return [word for part in create_sweep_command(list(command)) for word in filled.get(part[2:-1], [part])]


def first_of(parameters: dict) -> dict:
    """One value of every parameter of a sweep."""
    return {name: of["values"][0] if "values" in of else of["min"] for name, of in parameters.items()}


def test_the_documented_sweep_runs_under_the_id_of_the_agent(command, tmp_path, monkeypatch):
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "abcd1234")
    monkeypatch.setenv("WANDB_RUN_ID", "ofagent1")
    program, *arguments = command_line(SWEEP["command"], first_of(SWEEP["parameters"]))
    assert program == SWEEP["program"] == "dmtc"
    assert "--seed=0" in arguments
    code, _, err = command(*arguments, "logger.wandb.mode=offline", "logger.wandb.panels=0", "hydra.run.dir=run")
    assert code == 0, err
    (path,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    records = records_of(path)
    (run,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert run.run_id == "ofagent1"
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["run_id"] == "ofagent1"
    assert SWEEP["metric"]["name"] in set().union(*history_of(records))


def test_both_ways_to_write_the_parameters_are_the_same():
    values = first_of(SWEEP["parameters"])
    assert translate(command_line(["${args}"], values)) == translate(command_line(["${args_no_hyphens}"], values))


def test_a_run_without_an_agent_has_an_id_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    monkeypatch.setenv("WANDB_RUN_ID", "elsewhere")
    folder = RunFolder(tmp_path)
    assert len(run_id(folder)) == 16
    assert run_id(folder) != run_id(folder)
    (tmp_path / "wandb_id.txt").write_text("earlier")
    assert run_id(folder) == "earlier"
    folder.write_environment({"run_id": "known"})
    assert run_id(folder) == "known"


def test_values_of_python_are_understood():
    values = {"seed": 1, "schedule.start.steps": 10, "split.ratio": "1/8", "run.compile": True, "split.fold": None}
    values |= {"schedule.rounds.learning_rate": 1e-05, "logger.wandb.tags": ["a", "b"], "model/backbone": "resnet50"}
    arguments = command_line(["${args}"], values)
    assert arguments[0] == "--seed=1"
    assert translate(arguments)[:5] == [
        "seed=1",
        "schedule.start.steps=10",
        "split.ratio=1/8",
        "run.compile=True",
        "split.fold=null",
    ]
    config = dmtc.compose([*arguments, "--logger=wandb"])
    assert config.schedule.start.steps == 10
    assert config.run.compile is True
    assert config.split.fold is None
    assert config.schedule.rounds.learning_rate == 1e-05
    assert config.logger.wandb.tags == ["a", "b"]
    assert config.model.backbone.name == "resnet50"
