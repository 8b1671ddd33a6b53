"""Every option is read by the job it is given to, or refused with where it belongs; made from the config tree."""

from functools import cache

import pytest

import dmtc
from dmtc.cli.jobs import JOBS
from dmtc.config.compose import known_keys
from dmtc.config.folder import config_folder
from dmtc.config.job_options import ONLY, READS, given_keys, reads, refuse_unread
from dmtc.core.errors import ConfigError
from dmtc.machine.settings import RunSettings
from registered import own_names

GROUPS = sorted(
    {
        str(path.parent.relative_to(config_folder()))
        for path in config_folder().rglob("*.yaml")
        if path.parent != config_folder()
    }
)
OF_RUNS = [job for job in READS if "run_dir" in READS[job]]
RECIPES = [job for job in READS if "method" in READS[job]]


@cache
def options(job: str) -> list[str]:
    """Every option that can be given beside a job: settings, also of the other data sets, and groups."""
    names = ("synthetic", "folder", "cityscapes")
    composed = [known_keys(dmtc.compose([f"job={job}", f"dataset={name}"])) for name in names]
    own = {key for keys in composed for key in keys}
    return sorted({*own, *given_keys(f"{group}=x" for group in GROUPS), "model_b"} - {"job.name"})


def test_every_job_says_what_it_reads():
    assert set(READS) == own_names(JOBS)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("job", READS)
def test_every_option_is_read_or_refused_with_where_it_belongs(job):
    assert len(options(job)) > 80
    for key in options(job):
        if reads(job, key):
            refuse_unread(job, [key])
            continue
        with pytest.raises(ConfigError) as caught:
            refuse_unread(job, [key])
        message = str(caught.value)
        assert message.startswith("run is" if key == "run_dir" else f"{key} is"), message
        homes = [other for other in READS if reads(other, key)]
        assert homes, f"{key} is read by no job"
        assert f"by job={homes[0]}" in message
        assert f"job={job}" in message


@pytest.mark.parametrize("job", READS)
def test_no_declaration_is_of_an_option_that_is_not_there(job):
    there = [*options("train"), *options(job), "model.backbone"]
    for declared in READS[job]:
        name = declared.replace("model_*", "model_b")
        assert any(key == name or key.startswith(f"{name}.") for key in there), declared
    for only in ONLY:
        assert only.key in options(only.job)


@pytest.mark.parametrize("job", RECIPES)
def test_jobs_that_look_at_a_training_take_its_options(job):
    """They check the whole recipe, as training does: a value of the wrong kind anywhere is told."""
    for key in options("train"):
        if key.startswith("job") or key in ("run_dir", "resume"):
            continue
        assert reads(job, key), key


WRONG = [key for key in known_keys(dmtc.compose()) if key.split(".")[0] not in ("job", "resume", "run_dir", "model_b")]


@pytest.mark.sampled(20)
@pytest.mark.parametrize("key", [key for key in WRONG if not key.startswith("default_")])
def test_a_value_of_the_wrong_kind_is_told_wherever_it_is_given(key):
    config = dmtc.compose()
    part, *inner = key.split(".")
    if inner:
        of = config[part]
        for name in inner[:-1]:
            of = of[name]
        of[inner[-1]] = {"nonsense": [1]}
    else:
        config[part] = {"nonsense": [1]}
    with pytest.raises(ConfigError):
        dmtc.engine.checks.settle(config)


def test_names_of_overrides():
    overrides = ["seed=1", "++loss.gamma=2", "~logger", "model/backbone=tiny", "model@model_b=dpt", "+x@a.b=c"]
    assert given_keys(overrides) == ["seed", "loss.gamma", "logger", "model.backbone", "model_b", "a.b"]


@pytest.fixture
def recorded(monkeypatch) -> set[str]:
    """Settings of the machine that are looked at from now on."""
    seen: set[str] = set()
    original = RunSettings.__getattribute__

    def look(self: RunSettings, name: str):
        if name in RunSettings.__dataclass_fields__:
            seen.add(name)
        return original(self, name)

    monkeypatch.setattr(RunSettings, "__getattribute__", look)
    return seen


@pytest.mark.parametrize(
    ("job", "given"),
    [
        ("evaluate", []),
        ("predict", ["input={pictures}", "output={out}", "job.write=[index]"]),
        ("report", ["job.out={out}"]),
    ],
)
def test_settings_of_the_machine_that_a_job_says_it_reads_are_looked_at(
    command, finished, tmp_path, recorded, job, given
):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    pictures = next(iter(finished.dataset.images.values())).parent
    places = {"pictures": pictures, "out": tmp_path / "out"}
    code, _, err = command(f"job={job}", f"run={run}", *(one.format(**places) for one in given), small_run=False)
    assert code == 0, err
    declared = {key.removeprefix("run.") for key in READS[job] if key.startswith("run.")} | {"progress", "debug"}
    unread = {"debug", "progress"}  # the command line itself reads them
    assert declared - recorded <= unread
    of_training = {"sync_batchnorm", "gradient_checkpointing", "accumulate", "on_nonfinite", "score_pseudo_labels"}
    assert recorded - declared <= of_training, "as the run was trained; a report shows a step of it"


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["job=evaluate", "run={run}", "seed=3", "method=dmt"],
            "seed, method are not read by job=evaluate, but by job=train",
        ),
        (["job=evaluate", "run={run}", "++split.fold=1"], "split.fold is not read by job=evaluate"),
        (["job=evaluate", "run={run}", "~logger"], "logger is not read by job=evaluate"),
        (["job=evaluate", "run={run}", "model@model_b=dpt"], "model_b is not read"),
        (
            ["job=evaluate", "run={run}", "evaluation=sliding", "job.protocols=[original]"],
            "only with one protocol, not job.protocols",
        ),
        (
            ["job=predict", "run={run}", "input=x", "output=y", "dataset.root=z"],
            "dataset, dataset.root are not read by job=predict",
        ),
        (["job=predict", "run={run}", "input=x", "output=y", "run.pictures=3"], "run.pictures is not read"),
        (["job=export", "run={run}", "format=onnx", "experiment=your_data"], "experiment is not read by job=export"),
        (
            ["job=export", "run={run}", "format=safetensors", "job.opset=20"],
            "job.opset is read by job=export only with",
        ),
        (["job=export", "run={run}", "format=onnx", "job.private=false"], "only with job.push=USER/NAME"),
        (["job=report", "run={run}", "job.over=[seed]"], "only with runs=DIR"),
        (["job=report", "runs={run}", "job.beside=[x]"], "only with run=RUN_DIR"),
        (["job=report", "runs={run}", "run.device=cpu"], "run.device is read by job=report only with run=RUN_DIR"),
        (["run={run}"], "run is not read by job=train, but by job=evaluate, predict, label, next, export and report"),
        (["job=plan", "run={run}"], "run is not read by job=plan"),
        (["job=predict", "resume={run}"], "job=predict has no such folder"),
        (
            ["job=predict", "run={run}", "input=x", "output=y", "hydra.run.dir=new"],
            "hydra.run.dir is where job=train writes",
        ),
        (["job=plan", "job.opset=20"], "it is an option of job=export"),
        (["runs={run}"], "it is an option of job=report"),
        (["job=plan", "dataset.images=x"], "it is an option of dataset=folder"),
    ],
)
def test_what_a_job_does_not_read_is_refused(command, finished, tmp_path, arguments, told):
    places = {"run": finished.folder.path}
    code, out, err = command(*(one.format(**places) for one in arguments), small_run=False)
    assert code == 2, out
    assert told in err
    assert len(err.splitlines()) == 1, err
    assert list(tmp_path.iterdir()) == []
