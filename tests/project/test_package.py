"""The package: the command, what a wheel holds, its page in an index, and what a release asks for."""

import os
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

import dmtc
from dmtc.core.command import command as typed_command

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def test_the_command_is_installed_and_tells_its_version(command):
    (entry,) = entry_points(group="console_scripts", name="dmtc")
    assert entry.value == PROJECT["scripts"]["dmtc"] == "dmtc.cli.main:main"
    assert command("--version", small_run=False) == (0, f"dmtc {dmtc.__version__}\n", "")


def test_the_module_is_the_command():
    ran = subprocess.run([sys.executable, "-m", "dmtc", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"dmtc {dmtc.__version__}\n"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (ROOT / "run.py", "python run.py"),
        (ROOT / "src" / "dmtc" / "__main__.py", "python -m dmtc"),
        ("/usr/local/bin/dmtc", "dmtc"),
        ("/home/me/run.py", "dmtc"),
        ("/home/me/mine/__main__.py", "dmtc"),
        ("", "dmtc"),
    ],
)
def test_messages_name_the_command_that_was_typed(program, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert typed_command("resume=DIR") == f"{expected} resume=DIR"
    assert typed_command() == expected


def test_help_names_the_command_that_was_typed(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "run.py")])
    _, out, _ = command("--help", small_run=False)
    assert "  python run.py job=plan ..." in out
    assert not re.search(r" _\w+,", out), "building blocks of choices are not choices"


def test_no_message_names_another_command():
    files = [*(ROOT / "src").rglob("*.py"), ROOT / "conf" / "config.yaml"]
    naming = [path.name for path in files if "python run.py" in path.read_text("utf-8")]
    assert naming == ["command.py"]


def test_suggestions_are_made_in_one_place():
    making = [path.name for path in (ROOT / "src").rglob("*.py") if "difflib" in path.read_text("utf-8")]
    assert making == ["suggestions.py"]


@pytest.mark.parametrize("line", ["dmtc views=", "dmtc -m seed=0 views=", "python -m dmtc views="])
def test_completion_offers_choices_without_their_building_blocks(command, line, monkeypatch):
    monkeypatch.setenv("COMP_LINE", line.replace("-m dmtc", "run.py"))
    code, out, err = command("-sc", "query=bash", small_run=False)
    assert code == 0, err
    choices = sorted(path.stem for path in (ROOT / "conf" / "views").glob("[!_]*.yaml"))
    assert out.split() == [f"views={choice}" for choice in choices]


@pytest.fixture
def page(monkeypatch) -> dict:
    """The names of docs/making/package_page.py, which hatchling runs."""
    hook = ModuleType("hatchling.metadata.plugin.interface")
    hook.MetadataHookInterface = object  # type: ignore[attr-defined]
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, hook.__name__, hook)
    return runpy.run_path(str(ROOT / "docs" / "making" / "package_page.py"))


def test_the_page_of_the_package_has_no_relative_link(page):
    hook, metadata = page["PackagePage"](), {"urls": {"Repository": "https://example.org/me/dmtc"}}
    hook.root = str(ROOT)
    hook.update(metadata)
    text = metadata["readme"]["text"]
    at = f"v{dmtc.__version__}"
    assert f"](https://example.org/me/dmtc/raw/{at}/docs/pictures/" in text
    assert f"](https://example.org/me/dmtc/blob/{at}/docs/quickstart.md" in text
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not re.match(r"https://|#", link)] == []


def test_the_address_of_the_repository_stands_in_one_place():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    naming = []
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 10**6 and REPOSITORY.encode() in path.read_bytes():
            naming.append(name)
    assert naming == ["pyproject.toml"]


RELEASE = runpy.run_path(str(ROOT / ".ci" / "release.py"))


def test_a_release_lists_what_is_missing(tmp_path):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments], cwd=tmp_path, check=True)

    (tmp_path / "src/dmtc/core").mkdir(parents=True)
    (tmp_path / "src/dmtc/core/version.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.2\n")
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://example.org/OWNER/dmtc"\n')
    git("init", "--quiet")
    found = RELEASE["faults"](tmp_path)
    assert [fault.partition(" ")[0] for fault in found] == ["pyproject.toml:", "CHANGELOG.md", "there"]
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3\n\n## 1.2.2\n")
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://example.org/me/dmtc"\n')
    git("add", ".")
    git("commit", "--quiet", "--message", "x")
    assert RELEASE["faults"](tmp_path) == []
    git("tag", "v1.2.3")
    assert RELEASE["faults"](tmp_path)[0].startswith("v1.2.3 is tagged already")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the source distribution as an index gets it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(["uv", "build", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> Path:
    """`bin` of an environment that has the wheel, and of this one only what the wheel depends on."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run(["uv", "pip", "install", "--quiet", "--no-deps", "--python", str(python), str(wheel)], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # Links to the checkout are files that only the environment's own site-packages may hold.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def ran(*arguments: str, cwd: Path, **environment: str) -> str:
    """What a command prints, away from the checkout."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(arguments, cwd=cwd, env={**own, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_works_without_the_checkout(programs, small, tmp_path):
    place = ran(str(programs / "python"), "-c", "import dmtc; print(dmtc.__file__)", cwd=tmp_path)
    assert place.startswith(str(programs.parent))
    program, module = [str(programs / "dmtc")], [str(programs / "python"), "-m", "dmtc"]
    for typed in (program, module):
        assert ran(*typed, "--version", cwd=tmp_path) == f"dmtc {dmtc.__version__}\n"
    assert "  dmtc job=plan ..." in ran(*program, "--help", cwd=tmp_path)
    assert "r2-b" in ran(*module, "job=plan", *small, cwd=tmp_path)
    assert "ensemble:" in ran(*program, *small, "hydra.run.dir=first", cwd=tmp_path)
    assert (tmp_path / "first" / "results.json").is_file()
    assert "ensemble:" in ran(*module, "resume=first", cwd=tmp_path)
    offered = ran(*program, "-sc", "query=bash", cwd=tmp_path, COMP_LINE="dmtc teacher=").split()
    assert offered == ["teacher=average", "teacher=peer", "teacher=self", "teacher=stored"]


@pytest.mark.slow
def test_a_wheel_holds_every_config_and_its_page(wheel):
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        (metadata,) = [files.read(name).decode() for name in names if name.endswith("/METADATA")]
    conf = {f"dmtc/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.*")}
    assert conf <= names
    assert f"Project-URL: Repository, {REPOSITORY}" in metadata
    assert f"]({REPOSITORY}/raw/v{dmtc.__version__}/docs/pictures/" in metadata
