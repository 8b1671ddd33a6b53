"""Release the version in src/dmtc/core/version.py: check, build, try the wheel in an empty environment, tag, upload.

python .ci/release.py             everything but the tag and the upload
python .ci/release.py --publish   all of it; UV_PUBLISH_TOKEN holds the token of the package index
"""

import argparse
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Release, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--publish", action="store_true", help="also tag the commit and upload the files")
    publish = parser.parse_args().publish
    if found := faults(ROOT):
        raise SystemExit("\n".join(f"error: {fault}" for fault in found))
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run("bash", ".ci/run")
    run("uv", "run", "pytest", "-m", "slow")
    run("uv", "build", "--quiet", "--out-dir", "dist")
    files = [str(path) for path in sorted((ROOT / "dist").glob("*-*"))]
    (wheel,) = [path for path in files if path.endswith(".whl")]
    for arguments in (["--version"], ["job=plan"]):
        run("uv", "run", "--isolated", "--no-project", "--with", wheel, "dmtc", *arguments)
    if publish:
        tag = f"v{version_of(ROOT)}"
        run("git", "tag", "--annotate", tag, "--message", f"dmtc {version_of(ROOT)}")
        run("git", "push", "origin", tag)
        run("uv", "publish", *files)


def faults(root: Path) -> list[str]:
    """Why the checkout cannot be released, one sentence each."""
    version = version_of(root)
    changes = re.findall(r"^## (\S+)", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    repository = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
    found = []
    if "OWNER" in repository:
        found.append(f"pyproject.toml: [project.urls] still has the placeholder {repository}")
    if changes[:1] != [version]:
        found.append(f"CHANGELOG.md begins with {', '.join(changes[:1]) or 'no version'}, version.py says {version}")
    if output(root, "status", "--porcelain"):
        found.append("there are changes that are not committed")
    if output(root, "tag", "--list", f"v{version}"):
        found.append(f"v{version} is tagged already: raise the version in src/dmtc/core/version.py")
    return found


def version_of(root: Path) -> str:
    """The version in the source."""
    text = (root / "src" / "dmtc" / "core" / "version.py").read_text("utf-8")
    return re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0]


def output(root: Path, *arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def run(*command: str) -> None:
    """Run a command in the checkout; end with its exit code if it fails."""
    print("+", " ".join(command), flush=True)
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
