"""Records of a run that are valid JSON and yet not what was written: one line that names the file."""

import json
import shutil

import pytest
import yaml

import dmtc
from dmtc.core.errors import DataError
from dmtc.run.folder import RunFolder


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    return RunFolder(shutil.copytree(finished.folder.path, tmp_path / "run"))


def first(**values):
    """The plan with other values in its second phase."""
    return lambda plan: [plan[0], plan[1] | values, *plan[2:]]


@pytest.mark.parametrize("key", ["evaluation", "logger", "imports", "teacher.decay", "dataset.on_error", "run.test"])
def test_a_config_that_lacks_something_is_told(run, key):
    config = yaml.safe_load(run.config_path.read_text())
    *parts, last = key.split(".")
    part = config
    for name in parts:
        part = part[name]
    del part[last]
    run.write_config(config)
    with pytest.raises(
        DataError, match=rf"run/config\.yaml is damaged, or of another version of dmtc: .*{last}"
    ) as told:
        dmtc.Run.load(run.path)
    assert "\n" not in str(told.value)


PLANS = {
    "null": lambda plan: None,
    "empty": lambda plan: [],
    "an object": lambda plan: {"phases": plan},
    "no objects": lambda plan: ["r0-a"],
    "something missing": lambda plan: [{key: value for key, value in plan[0].items() if key != "trainee"}],
    "something more": first(x=1),
    "steps in words": first(steps="two"),
    "a path for a name": first(name="../../r0-b"),
    "no name": first(name=""),
    "one name twice": first(name="r0-a"),
    "a start that comes later": first(init_from="r2-a"),
    "a teacher that is none": first(label_from="r9-x"),
}


@pytest.mark.parametrize("case", PLANS)
def test_a_damaged_plan_is_told(run, case):
    path = run.path / "plan.json"
    assert run.read_plan(), "it is whole"
    path.write_text(json.dumps(PLANS[case](json.loads(path.read_text()))))
    with pytest.raises(DataError, match=r"run/plan\.json is damaged: ") as told:
        run.read_plan()
    assert "\n" not in str(told.value)


def test_any_other_value_in_the_record_of_a_phase_is_noticed(run):
    """By its hash, wherever in the record it is."""
    path = run.path / "phases/r1-a/phase.json"
    whole = path.read_text()
    record = run.read_phase("r1-a")
    assert record is not None
    assert json.loads(whole).keys() - record.to_json().keys() == {"sha256"}
    changes = [lambda of: of.update(miou_last=0.9), lambda of: of.pop("steps"), lambda of: of["pseudo"].pop("coverage")]
    changes += [lambda of: of["evaluations"].clear(), lambda of: of.update(x=1), lambda of: of.update(sha256="0")]
    changes += [lambda of: of.pop("sha256")]
    for change in changes:
        changed = json.loads(whole)
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(DataError, match=r"r1-a/phase\.json is damaged, or was changed after it was written"):
            run.read_phase("r1-a")


@pytest.mark.parametrize("content", ["[]", "1", '{"data": []}', '{"data": {"labelled": [[1]], "val": {}, "test": {}}}'])
def test_a_damaged_record_of_the_data_is_told(run, content):
    (run.path / "split.json").write_text(content)
    with pytest.raises(DataError, match=r"split\.json( is damaged|: )"):
        run.read_data()
