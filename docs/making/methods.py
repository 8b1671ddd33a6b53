"""Writes the generated parts of docs/methods anew from conf: `python docs/making/methods.py`.

Each page has marks for the settings of its methods and for their published figures. The keys and values of settings
come from the composed config; the column that says where a value is from is written by hand in the page, and kept.
"""

import re
import runpy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import dmtc
from dmtc.config.compose import resolved
from dmtc.config.folder import config_folder
from dmtc.schedule.settings import own_options

PAGES = Path(__file__).parents[1] / "methods"
BEGIN, END = "<!-- made by docs/making/methods.py: {} {} -->", "<!-- end -->"
MARK = re.compile(r"<!-- made by docs/making/methods\.py: (\w+) (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
DATASETS = "voc|cityscapes|ade20k|coco"
WHOLE = {"color", "rescale", "perturbation", "selection", "ramp"}
"""Mappings that are one setting."""


def with_parts(page: str) -> str:
    """The page with its generated parts made anew."""

    def anew(found: re.Match[str]) -> str:
        kind, name, old = found.groups()
        made = {"settings": settings_table, "figures": figures_table, "concepts": concepts_table}[kind](name, old)
        return f"{BEGIN.format(kind, name)}\n\n{made}\n\n{END}"

    return MARK.sub(anew, page)


def methods() -> list[str]:
    """All methods."""
    return sorted(path.stem for path in (config_folder() / "method").glob("*.yaml"))


def settings_table(method: str, old: str) -> str:
    """What a method sets, other than the supervised baseline: one setting a row."""
    sources = dict(re.findall(r"^\| `(\S+)` \| .*? \| (.*) \|$", old, re.MULTILINE))
    rows = [[f"`{key}`", f"`{value}`", sources.get(key, "")] for key, value in settings(method).items()]
    return table([f"`method={method}`", "value", "from"], rows)


def settings(method: str) -> dict[str, str]:
    """The settings of a method that are not those of the supervised baseline; what data sets set is as on VOC."""
    own, baseline = (dict(_leaves(_parts(each))) for each in (method, "supervised"))
    if method == "supervised":
        changed = {key: value for key, value in own.items() if key.startswith(("schedule", "loss.supervised."))}
    else:
        changed = {key: value for key, value in own.items() if key not in baseline or baseline[key] != value}
    groups = ["schedule", "teacher", "views", "mixing", "loss"]
    order = sorted(changed, key=lambda key: (groups.index(key.partition(".")[0]), "." in key))
    return {key: _written(changed[key]) for key in order}


@cache
def _parts(method: str) -> dict[str, Any]:
    config = resolved(dmtc.compose([f"method={method}", "dataset=voc"]))
    schedule = {"schedule": own_options(config["schedule"])}
    return schedule | {part: config[part] for part in ("teacher", "views", "mixing", "loss")}


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in ("loss.name", "loss.terms", "loss.gamma", "loss.contrast_weight") or (key, value) == ("ramp", None):
            continue
        if isinstance(value, Mapping) and key not in WHOLE:
            yield from _leaves(value, f"{name}.")
        elif ".weight." not in name or value != 0:
            yield (
                name.removesuffix(".name") if prefix in ("schedule.", "teacher.", "views.", "mixing.") else name,
                value,
            )


def _written(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False).removesuffix("\n...\n").strip()


def figures_table(method: str, old: str = "") -> str:
    """The published figures of a method's recipes."""
    lines = runpy.run_path(str(Path(__file__).with_name("experiments.py")))["published_lines"]
    rows = []
    for path in sorted((config_folder() / "experiment").glob("[!_]*.yaml")):
        if re.match(rf"{method}_({DATASETS})_", path.stem):
            for figures, source in lines(path.read_text("utf-8")):
                shown = ", ".join(f"{name}: {figure}" if name else figure for name, figure in figures.items()) or "-"
                rows.append([f"`{path.stem}`", shown, source])
    return table(["`experiment=...`", "labelled list: mIoU", "source"], rows) if rows else "None known here."


def concepts_table(kind: str, old: str = "") -> str:
    """All methods by concept, of the kind `online` (labels within the step) or `rounds` (labels before a phase)."""
    rows = []
    for method in methods():
        parts = _parts(method)
        if (parts["teacher"]["name"] == "stored") == (kind == "rounds"):
            rows.append([f"`{method}`", *(_concepts_online(parts) if kind == "online" else _concepts_rounds(parts))])
    heads = {
        "online": ["`teacher`", "`views`: passes", "`mixing`, partner", "features", "selection / divisor", "terms"],
        "rounds": ["`schedule`", "`views`, `mixing`", "terms of the start", "terms of the rounds"],
    }
    return table(["`method`", *heads[kind]], rows)


def _concepts_online(parts: Mapping[str, Any]) -> list[str]:
    teacher, views, mixing = parts["teacher"], parts["views"], parts["mixing"]
    who = [f"`{teacher['name']}`"] + [f"{teacher['decay']}"] * (teacher["decay"] is not None)
    who += [f"{teacher['mode']} mode" if teacher["mode"] != "student" else "same pass"]
    who += ["own buffers"] * (teacher["buffers"] == "own")
    who += ["snapshots"] * (teacher["snapshots"] is not None)
    passes = " ".join(f"[{', '.join(names)}]" for names in views["passes"])
    strong = f", {views['strong']} strong" if views["strong"] else ""
    unlabelled = parts["loss"]["unlabelled"]
    selection = unlabelled.get("selection") or {"name": "none"}
    value = selection.get("threshold")
    chosen = f"`{selection['name']}`{'' if value is None else f' {value}'} / `{unlabelled['divisor']}`"
    features = (views["perturbation"] or {"name": "none"})["name"]
    partner = f", {mixing['partner']}" if "partner" in mixing else ""
    mixed = f"`{mixing['name']}`{partner}" if mixing["name"] != "none" else "-"
    shown = f"`{views['name']}`{strong}: `{passes}`"
    return [
        ", ".join(who),
        shown,
        mixed,
        f"`{features}`" if features != "none" else "-",
        chosen,
        _terms(parts, "online"),
    ]


def _concepts_rounds(parts: Mapping[str, Any]) -> list[str]:
    shown = f"`{parts['views']['name']}`, `{parts['mixing']['name']}`" if parts["views"]["strong"] else "-"
    return [f"`{parts['schedule']['name']}`", shown, _terms(parts, "start"), _terms(parts, "rounds")]


def _terms(parts: Mapping[str, Any], stage: str) -> str:
    terms = {name: term for name, term in parts["loss"].items() if isinstance(term, Mapping) and "weight" in term}
    weights = {name: term["weight"].get(stage, 0) for name, term in terms.items()}
    return ", ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight) or "-"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows])


if __name__ == "__main__":
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(with_parts(path.read_text("utf-8")), "utf-8")
