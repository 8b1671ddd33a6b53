"""The pages of the documentation: what they show works, what they name is there, and every public name is on one."""

import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

import dmtc
from dmtc.cli.main import translate
from dmtc.engine.checks import settle
from trees import OWN, write_folder

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
API = sorted((DOCS / "api").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str = "") -> list[str]:
    return [text for kind, text in BLOCK.findall((DOCS / page).read_text("utf-8")) if kind == language]


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page)).replace("\\\n", " ").splitlines()
    return [found[1].strip() for line in lines if (found := re.match(r"dmtc(?! -sc)(\s.*|$)", line))]


def test_commands_are_written_alike():
    naming = [
        page.name
        for page in DOCS.rglob("*.md")
        if re.search(r"^(?!\| ).*python run\.py", page.read_text("utf-8"), re.M)
    ]
    assert naming == [], "write dmtc; docs/quickstart.md and docs/benchmarks.md have run.py in a table"


def documented() -> set[str]:
    return {name for page in API for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)}


def public_names() -> set[str]:
    names = set()
    for name in dmtc.__all__:
        value = getattr(dmtc, name)
        listed = getattr(value, "__all__", None) if isinstance(value, ModuleType) else None
        if not isinstance(value, ModuleType):
            names.add(f"dmtc.{name}")
        elif listed is not None:
            names |= {f"dmtc.{name}.{inner}" for inner in listed if not isinstance(getattr(value, inner), ModuleType)}
    return names


def test_every_public_name_is_on_a_page():
    assert len(public_names()) > 60
    assert public_names() - documented() == set(), "add them to a page of docs/api"
    for name in dmtc.__all__:
        value = getattr(dmtc, name)
        home = value.__name__ if isinstance(value, ModuleType) else f"dmtc.{name}"
        assert any(f"{each}.".startswith(f"{home}.") for each in documented()), name


def test_every_name_on_a_page_is_there():
    for name in documented():
        home, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(home), attribute), name


WITHOUT_EXAMPLE = {
    # Values without code of their own, and what is chosen from YAML.
    *("losses.Loss", "pseudo.PseudoLabel", "pseudo.PseudoLabels", "models.WeightsReport", "evaluation.Scores"),
    *("evaluation.MetricValue", "losses.BankContrast", "losses.PropagatedCrossEntropy"),
    *("evaluation.Evaluation", "tracking.Panel", "tracking.JsonLines", "tracking.RunLog", "tracking.CsvLogger"),
    *("tracking.TensorBoardLogger", "tracking.MLflowLogger", "tracking.WandbLogger"),
    # Shown whole in docs/extending.md.
    *("models.Backbone", "models.SegmentationModel"),
    # Backbones and choices of the group model/tuning use them.
    *("models.Level", "models.Tuning"),
    # `build_plan` and docs/extending.md show how they are used.
    *("schedule.Phase", "schedule.Recipe", "schedule.Counts", "schedule.StartSettings", "schedule.RoundSettings"),
    *("schedule.OnlineSettings", "schedule.Labellers", "schedule.online", "schedule.online_after_start"),
    *("schedule.st", "schedule.st_plus_plus"),
    *("schedule.mutual", "schedule.self_training", "schedule.supervised", "schedule.supervised_long"),
    # Their neighbors show how they are used.
    *("evaluation.evaluate", "evaluation.evaluation_faults", "tracking.phase_values"),
}


def test_public_functions_and_classes_have_examples():
    without = set()
    for name in public_names():
        home, _, attribute = name.rpartition(".")
        value = getattr(importlib.import_module(home), attribute)
        if callable(value) and hasattr(value, "__module__") and value.__module__.startswith("dmtc"):
            without |= set() if ">>> " in (value.__doc__ or "") else {name.removeprefix("dmtc.")}
    assert without == WITHOUT_EXAMPLE


def test_types_travel_with_the_package():
    assert (ROOT / "src" / "dmtc" / "py.typed").is_file()


@pytest.mark.parametrize(
    "page",
    [
        "quickstart.md",
        "walkthrough.md",
        "options.md",
        "results.md",
        "faq.md",
        "experiments.md",
        "predict.md",
        "export.md",
    ],
)
def test_commands_compose(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tried = 0
    for command in commands(page):
        arguments = [a for a in translate(shlex.split(command)) if not a.startswith(("-", "hydra", "resume="))]
        one_value = [a if "[" in a else re.sub(r"^([^=]+=[^,]+),.*", r"\1", a) for a in arguments]
        settle(dmtc.compose(one_value))
        tried += 1
    assert tried >= 3


EXTENDING = [text for language in ("python", "yaml") for text in blocks("extending.md", language)]


def file_of(text: str) -> str:
    """The name in one of the first lines."""
    return next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# my_"))


@pytest.fixture
def written(tmp_path, monkeypatch) -> Iterator[Path]:
    """The working directory, with every file of the page; other tests' modules of these names are forgotten."""
    modules = [file_of(text).removesuffix(".py") for text in EXTENDING]
    for text in EXTENDING:
        path = tmp_path / file_of(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in modules:
        sys.modules.pop(name, None)
    yield tmp_path
    for name in modules:
        sys.modules.pop(name, None)


def given(part: str) -> list[list[str]]:
    return [shlex.split(command) for command in commands("extending.md") if f"imports=[my_{part}]" in command]


def methods() -> list[list[str]]:
    return [arguments for arguments in given("losses") if any(a.startswith("method=") for a in arguments)]


KINDS = ("losses", "models", "data", "schedules", "metrics")


def test_extending_shows_a_file_of_each_kind():
    names = {file_of(text) for text in EXTENDING}
    assert {f"my_{part}.py" for part in KINDS} <= names
    assert all(given(part) for part in KINDS)


def metrics_of(folder: Path) -> list[dict]:
    (path,) = (folder / "outputs").rglob("metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_loss_of_the_page(command, written):
    (arguments,) = [each for each in given("losses") if each not in methods()]
    code, _, err = command(*arguments, "run.log_every=1")
    assert code == 0, err
    of_start = [record for record in metrics_of(written) if record["phase"] == "r0-a" and "tversky" in record]
    assert of_start
    assert all(0 < record["tversky"] < 1 and record["tversky/present"] >= 1 for record in of_start)


def test_the_loss_of_the_page_is_zero_where_all_is_ignored_and_small_where_all_is_right(written):
    import torch

    tversky = importlib.import_module("my_losses").Tversky(alpha=0.3, beta=0.7)
    label = torch.tensor([[[0, 1], [1, 255]]])
    right = torch.stack([label == 0, label == 1], dim=1) * 40.0
    assert tversky(right, label).loss.item() == pytest.approx(0, abs=1e-4)
    assert tversky(-right, label).loss.item() > 0.3
    assert tversky(right, torch.full_like(label, 255)).loss.item() == 0


def test_the_selection_of_the_page(written):
    import torch

    from dmtc.losses import LOSSES

    importlib.import_module("my_selection")
    selection = {"name": "between", "low": 0.3, "high": 0.9}
    loss = LOSSES.build({"name": "selected_cross_entropy", "selection": selection, "divisor": "valid"})
    confidence = torch.tensor([[[0.2, 0.3, 0.9, 0.5]]])
    value = loss(torch.zeros(1, 2, 1, 4), torch.zeros(1, 1, 4, dtype=torch.long), confidence)
    assert value.logs["kept"] == 0.5


def test_the_method_of_the_page(command, small, written):
    train, sweep = methods()
    code, _, err = command(*train, *small, "run.log_every=1", small_run=False)
    assert code == 0, err
    (path,) = (written / "outputs").rglob("results.json")
    assert json.loads(path.read_text())["method"] == "dmt_tversky"
    assert any("tversky" in record for record in metrics_of(written))
    code, out, err = command(*train, "job=plan", "loss/mutual=flip", small_run=False)
    assert code == 0, err
    assert "dmt_tversky loss/mutual=flip" in out
    one_run = [a.replace("dmt,", "") for a in sweep if a != "-m" and not a.startswith("seed=")]
    assert one_run == train


def test_the_method_of_the_page_that_labels_inside_the_step(command, small, written):
    train, sweep = given("surest")
    code, _, err = command(*train, *small, "run.log_every=1", small_run=False)
    assert code == 0, err
    (path,) = (written / "outputs").rglob("results.json")
    assert json.loads(path.read_text())["method"] == "surest"
    kept = [record["unlabelled/kept"] for record in metrics_of(written) if "unlabelled/kept" in record]
    assert kept
    assert all(0 < share <= 1 for share in kept)
    code, out, err = command(*train, "job=plan", small_run=False)
    assert code == 0, err
    assert "selected by surest_of_image (share 0.5)" in out
    assert [a.replace("fixmatch_ema,", "") for a in sweep if a != "-m" and not a.startswith("seed=")] == train


def test_that_method_is_at_most_40_lines():
    own = [text for text in EXTENDING if "surest" in file_of(text)]
    assert len(own) == 3
    assert sum(len(text.strip().splitlines()) for text in own) <= 40


def test_the_network_of_the_page(command, written):
    write_folder(written / "pictures")
    (arguments,) = given("models")
    code, _, err = command(*arguments, *OWN[1:], small_run=False)
    assert code == 0, err
    (config,) = (written / "outputs").rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["model"]["name"] == "with_context"
    run = dmtc.Run.load(config.parent)
    assert run.predict(np.zeros((48, 40, 3), np.uint8)).shape == (48, 40)


def test_the_module_of_the_page(command, written):
    write_folder(written / "pictures")
    (arguments,) = given("network")
    settings = [one for one in OWN[1:] if "backbone" not in one]
    code, _, err = command(*arguments, *settings, "method=supervised", small_run=False)
    assert code == 0, err
    (config,) = (written / "outputs").rglob("config.yaml")
    assert dmtc.Run.load(config.parent).predict(np.zeros((48, 40, 3), np.uint8)).shape == (48, 40)
    (text,) = [text for text in EXTENDING if file_of(text) == "my_network.py"]
    assert len(text.strip().splitlines()) <= 13


def test_the_pairs_of_the_page(written, small, monkeypatch):
    settings = [one for one in small if "dataset." not in one or "crop" in one]
    tiny = ["model/backbone=tiny", "model.weights={a: null, b: null}", "schedule.rounds.label_ratios=[1.0]"]
    train = dmtc.train
    monkeypatch.setattr(dmtc, "train", lambda overrides: train([*overrides, *tiny, *settings]), raising=False)
    module = importlib.import_module("my_pairs")
    assert module.mask.shape == (48, 48)
    assert module.run.results["split"]["unlabelled"] == 8


def test_networks_of_smp_on_the_page_compose():
    shown = [shlex.split(command) for command in commands("extending.md") if "model=smp" in command]
    assert [settle(dmtc.compose(arguments))["model"]["arch"] for arguments in shown] == ["unet", "fpn"]


def test_the_data_set_of_the_page(command, written):
    root = write_folder(written / "pictures")
    val = (root / "val.txt").read_text().split()
    rows = ["image,mask,part"]
    for image in sorted((root / "images").iterdir()):
        mask = root / "masks" / image.name
        rows.append(f"{image},{mask if mask.exists() else ''},{'val' if image.stem in val else 'train'}")
    (written / "images.csv").write_text("\n".join(rows))
    check, train = given("data")
    code, out, err = command(*check, *OWN[1:], small_run=False)
    assert code == 0, out + err
    assert "12 images (8 labelled, 2 unlabelled, 2 validation), 2 classes" in out
    code, _, err = command(*train, *OWN[1:], small_run=False)
    assert code == 0, err
    code, _, err = command(*[a for a in train if not a.startswith("dataset.file")], *OWN[1:], small_run=False)
    assert code == 2
    assert "dataset.file=FILE" in err


def test_the_schedule_of_the_page(command, written):
    plan, train = given("schedules")
    code, out, err = command(*plan)
    assert code == 0, err
    assert "r2-b" in out
    code, _, err = command(*train)
    assert code == 0, err
    (path,) = (written / "outputs").rglob("plan.json")
    phases = {phase["name"]: phase for phase in json.loads(path.read_text())}
    assert phases["r2-a"]["init_from"] == "r0-a"
    assert phases["r2-a"]["label_from"] == "r1-b"


def test_the_metrics_of_the_page(command, written):
    (arguments,) = given("metrics")
    code, out, err = command(*arguments, "method=supervised")
    assert code == 0, err
    (path,) = (written / "outputs").rglob("results.json")
    results = json.loads(path.read_text())
    assert 0 < results["metrics"]["frequency_weighted_iou"]["a"] < 1
    assert 0 < results["metrics"]["noticed"]["a"] <= 1
    assert results["metric_notes"] == {"noticed": "on 20 pixels or more"}
    assert "noticed (on 20 pixels or more): a " in out


TROUBLES = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (DOCS / "troubles.md").read_text("utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


def test_every_trouble_has_an_answer():
    assert [int(row[0]) for row in TROUBLES] == list(range(1, 47))
    assert all(len(row) == 4 and all(row) for row in TROUBLES)


@pytest.mark.parametrize("row", TROUBLES, ids=lambda row: row[0])
def test_what_an_answer_names_is_there(row):
    _, _, answer, shown = row
    named = re.findall(r"`(test_\w+)` of `([\w/]+\.py)`", shown)
    for test, file in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text("utf-8"), f"{file}: {test}"
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", shown + answer)
    assert named or links or answer.startswith("**No"), "say what shows it"
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    for message in re.findall(r"“([^”]+)”", answer):
        assert message in sources, f"no message says {message!r}"
    options = [o for o in re.findall(r"`([\w./]+=[^`]*)`", answer) if not re.search(r"=[A-Z_]*$", o)]
    for option in options:
        settle(dmtc.compose([a for a in translate(shlex.split(option)) if not a.startswith(("-", "hydra"))]))
