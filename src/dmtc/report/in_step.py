"""What happens within the steps of phases whose teacher labels there, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.batches.mixing import NoMixing
from dmtc.engine.components import Components
from dmtc.losses.terms import term_specs, terms_of_stage
from dmtc.schedule import Phase
from dmtc.schedule.phase import trainings_of


def step_lines(components: Components) -> list[str]:
    """Two lines for each kind of phase whose teacher labels in the step: who teaches and what counts; what is seen."""
    lines, seen = [], set()
    for phases in trainings_of(components.plan):
        phase = phases[0]
        if phase.teacher is None or (phase.stage, bool(phase.label_ratio)) in seen:
            continue
        seen.add((phase.stage, bool(phase.label_ratio)))
        where = " + ".join(each.name for each in phases) if phase.stage == "online" else "the rounds"
        lines += [f"within the steps of {where}: {_labels(components, phase)}", f"  {_views(components)}"]
    return lines


def _labels(components: Components, phase: Phase) -> str:
    teacher = components.config["teacher"]
    settings = _listed(teacher, [name for name in ("decay", "mode") if teacher.get(name) is not None])
    of_class = "" if phase.label_ratio is None else ", the most confident share of every class"
    parts = [f"labels by {teacher['name']}{settings}{of_class}", *_selections(components, phase)]
    if components.teacher.decay is not None:
        parts.append(f"scored: the {components.teacher.score}")
    return "; ".join(parts)


def _selections(components: Components, phase: Phase) -> list[str]:
    """The selections of the phase's terms, each once."""
    active, specs = terms_of_stage(components.terms, phase.stage), term_specs(components.config["loss"])
    selections = [specs[term.name].get("selection") for term in active]
    words = dict.fromkeys(_named(selection) for selection in selections if isinstance(selection, Mapping))
    return [f"selected by {', '.join(words)}"] if words else []


def _views(components: Components) -> str:
    views, mixing = components.views, components.config["mixing"]
    count = {0: "weak views alone", 1: "1 strong view"}.get(views.strong, f"{views.strong} strong views")
    parts = [count]
    if views.color is not None:
        who = " of labelled images too" if views.labelled else ""
        parts.append(f"color {components.config['views']['color']['name']}{who}")
    if views.perturbation is not None:
        parts.append(f"features perturbed by {components.config['views']['perturbation']['name']}")
    if not isinstance(components.mixer, NoMixing):
        partner = [name for name in ("partner",) if name in mixing]
        parts.append(f"mixed by {mixing['name']}{_listed(mixing, partner)}")
    passes = " | ".join(" + ".join(names) for names in views.passes)
    return f"{', '.join(parts)}; passes: {passes}"


def _named(spec: Mapping[str, Any]) -> str:
    return f"{spec['name']}{_listed(spec, [name for name in spec if name != 'name'])}"


def _listed(spec: Mapping[str, Any], names: Sequence[str]) -> str:
    """Some settings in parentheses; nothing if there are none."""
    return f" ({', '.join(f'{name} {_plain(spec[name])}' for name in names)})" if names else ""


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
