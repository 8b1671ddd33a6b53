"""Parts of a part, such as `loss/selection`, that only some choices of its group have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dmtc.config.folder import config_folder, loaded_files
from dmtc.config.methods import loss_of_methods
from dmtc.core.yaml_files import read_yaml


def groups() -> dict[str, list[Path]]:
    """Every group, such as `model/backbone`, with the files of its choices."""
    folder = config_folder()
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        if path.parent != folder and not path.stem.startswith("_"):
            found.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path)
    return found


def missing_part(key: str) -> str | None:
    """One line about a group of a group that the chosen part does not have, with the choices that have it.

    Args:
        key: Of the override that found no place, such as `loss/selection`.

    Returns:
        None if there is no such group.
    """
    group, _, part = key.rpartition("/")
    choices = groups()
    if not group or key not in choices or group not in choices:
        return None
    having = [path.stem for path in choices[group] if part in _parts(path)]
    names = [(one.group, Path(one.path).stem) for one in loaded_files()]
    chosen = {of: name for of, name in names if not name.startswith("_")}  # what a choice builds on has an underscore
    owner, have = f"{group}={chosen.get(group)}", f"these have it: {', '.join(f'{group}={name}' for name in having)}"
    if group == "loss":
        terms = loss_of_methods()
        methods = [method for method, loss in terms.items() if loss in having]
        have = f"these methods have it: {', '.join(methods)}"
        if terms.get(chosen.get("method", "")) == chosen.get("loss"):
            owner = f"method={chosen['method']}"
    return f"{key}: {owner} has no such part; {have}"


def _parts(path: Path) -> set[str]:
    """The groups below its own that a choice picks from, itself or by the files that it builds on."""
    found: set[str] = set()
    for entry in (read_yaml(path) or {}).get("defaults") or []:
        found |= set(_picked(entry)) if isinstance(entry, dict) else _parts_of_base(path, str(entry))
    return found


def _parts_of_base(path: Path, name: str) -> set[str]:
    base = path.with_name(f"{name}.yaml")
    return _parts(base) if name != "_self_" and base.is_file() else set()


def _picked(entry: dict[Any, Any]) -> Iterator[str]:
    for key in entry:
        yield str(key).removeprefix("override ").partition("@")[0].rpartition("/")[2]
