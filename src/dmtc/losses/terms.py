"""The terms of the training loss: which losses, of which images, and their weights in each stage."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.registry import argument_faults, raise_faults, unknown
from dmtc.core.types import IGNORE_INDEX, Stage, StepInputs
from dmtc.losses.base import LOSSES, Loss, WeighsPixels, evaluate_loss, inputs_of
from dmtc.losses.class_weights import LabelledClasses
from dmtc.losses.ramps import RAMPS, Ramp
from dmtc.losses.selection import Pixels, SelectsPixels

Scored = Literal["all", "labelled", "unlabelled", "weak", "perturbed"]
"""The images that a term is of: the labelled ones; what is learned from unlabelled ones (each strong view by itself, or
the weak view if there are none); both together; the weak views; the copies with perturbed features."""

Target = Literal["own", "teacher", "teacher_everywhere", "snapshots"]
"""The labels that a term takes: every image's own (masks for labelled images, the teacher's labels for the others); the
teacher's for labelled images, too, wherever these have a label; or even where they have none; or, for unlabelled images
alone, those of earlier states of the student, as soon as there are any."""


@dataclass(frozen=True, slots=True)
class TermWeight:
    """The weight of a term in each stage."""

    start: float = 0.0
    rounds: float = 0.0
    online: float = 0.0


@dataclass(frozen=True, slots=True)
class TermRows:
    """Which images a term is of, which labels it takes, and which map: the logits, or those correlation spreads."""

    on: Scored = "all"
    target: Target = "own"
    map: Literal["logits", "correlated"] = "logits"


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the training loss."""

    name: str
    loss: Loss
    weight: TermWeight
    rows: TermRows
    ramp: Ramp | None
    divided: bool = False


class ActiveTerm(NamedTuple):
    """A term in a stage.

    Attributes:
        name: Its name.
        weight: Its weight in the stage, not 0.
        loss: Its loss.
        rows: The images it is of.
        ramp: How its weight changes over a phase; None: not at all.
        divided: Whether the sum of the terms is divided by the sum of their weights.
    """

    name: str
    weight: float
    loss: Loss
    rows: TermRows = TermRows()
    ramp: Ramp | None = None
    divided: bool = False

    def weight_at(self, progress: float) -> float:
        """The weight after the done share of a phase, in [0, 1)."""
        return self.weight if self.ramp is None else self.weight * self.ramp(progress)


class TermInputs(Protocol):
    """What the terms of a step are evaluated on."""

    @property
    def progress(self) -> float:
        """The done share of the phase, in [0, 1)."""
        ...

    def of(self, rows: TermRows) -> Sequence[StepInputs]:
        """The inputs of a term: one for each group of images whose loss is a value of its own; their mean counts."""
        ...

    def has(self, rows: TermRows) -> bool:
        """Whether the whole batch has rows that a term is of."""
        ...

    def shares(self, divisors: Sequence[Tensor]) -> Sequence[Tensor | float]:
        """The share of this part of the batch in the sums of the whole batch, for each divisor of a value."""
        ...


def term_specs(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The terms in the `loss` part of a config: every mapping is one; null switches a term off."""
    return {name: entry for name, entry in spec.items() if isinstance(entry, Mapping) and name not in _OPTIONS}


_OPTIONS = ("name", "terms", "gamma", "contrast_weight", "divide_by_weights")
"""The options in the `loss` part of a config that are not terms."""

_OF_EVERY_TERM = ("weight", "on", "target", "map", "ramp")
"""The options of a term that are not its loss's."""


def term_faults(spec: Mapping[str, Any], classes: LabelledClasses | None = None) -> list[str]:
    """All faults of the `loss` part of a config, one sentence each; without the classes, those found without them."""
    faults = [
        f"loss: unknown option {unknown(name, _OPTIONS)}; a term is a mapping with name: and weight:"
        for name, entry in spec.items()
        if name not in _OPTIONS and entry is not None and not isinstance(entry, Mapping)
    ]
    if not isinstance(spec.get("name"), str):
        faults.append(f"loss.name should be a name, but is {spec.get('name')!r}")
    if not isinstance(spec.get("divide_by_weights", False), bool):
        faults.append(f"loss.divide_by_weights should be true or false, but is {spec['divide_by_weights']!r}")
    declared = spec.get("terms")
    if not isinstance(declared, Mapping) or not all(isinstance(name, str) for name in declared.values()):
        faults.append(f"loss.terms should name the loss of each term, but is {declared!r}")
    for name, entry in term_specs(spec).items():
        where = f"loss.{name}"
        faults += _loss_faults(_of_loss(entry), where, classes)
        if isinstance(entry.get("weight"), Mapping):
            faults += argument_faults(TermWeight, entry["weight"], f"{where}.weight")
            faults += [
                f"{where}.weight.{stage} should be at least 0, but is {weight!r}"
                for stage, weight in entry["weight"].items()
                if isinstance(weight, int | float) and weight < 0
            ]
        else:
            faults.append(
                f"{where}.weight should be {{start: ..., rounds: ..., online: ...}}, but is {entry.get('weight')!r}"
            )
        for key, choices in (("on", Scored), ("target", Target), ("map", Literal["logits", "correlated"])):
            if key in entry and entry[key] not in get_args(choices):
                faults.append(f"{where}.{key} should be one of {', '.join(get_args(choices))}, but is {entry[key]!r}")
        if entry.get("target") == "snapshots" and entry.get("on", "all") in ("labelled", "all"):
            faults.append(f"{where}.target=snapshots goes with on: unlabelled, weak or perturbed")
        if entry.get("ramp") is not None:
            faults += RAMPS.faults(entry["ramp"], f"{where}.ramp")
    return faults


def build_terms(spec: Mapping[str, Any], classes: LabelledClasses | None = None) -> list[Term]:
    """Build the terms of the `loss` part of a config after checking all of it.

    Args:
        spec: The `loss` part of a config.
        classes: The classes of the run; terms built without them are only looked at, not evaluated.

    Raises:
        ConfigError: Any term has a fault, or there are no terms.
    """
    raise_faults(term_faults(spec, classes))
    terms = [
        Term(
            name,
            LOSSES.build(_of_loss(entry), f"loss.{name}", classes=classes),
            TermWeight(**entry["weight"]),
            TermRows(**{key: entry[key] for key in ("on", "target", "map") if key in entry}),
            None if entry.get("ramp") is None else RAMPS.build(entry["ramp"], f"loss.{name}.ramp"),
            spec.get("divide_by_weights", False),
        )
        for name, entry in term_specs(spec).items()
    ]
    for term in terms:
        inputs_of(term.loss)  # to report unknown inputs of a loss before training, not in the first step
    return terms


def terms_of_stage(terms: list[Term], stage: Stage) -> list[ActiveTerm]:
    """The terms with a weight other than 0 in a stage, and these weights.

    Raises:
        ConfigError: There are none.
    """
    active = [
        ActiveTerm(term.name, getattr(term.weight, stage), term.loss, term.rows, term.ramp, term.divided)
        for term in terms
        if getattr(term.weight, stage) != 0
    ]
    if not active:
        names = ", ".join(f"loss.{term.name}.weight.{stage}" for term in terms) or "loss"
        raise ConfigError(f"no loss term counts in the {stage}: set one of {names} above 0, or choose another schedule")
    return active


def needs_embedding(terms: list[Term]) -> bool:
    """Whether any term with a weight other than 0 takes the projection head's embedding."""
    active = [term for term in terms if term.weight != TermWeight()]
    return any("embedding" in inputs_of(term.loss) for term in active)


def needs_correlation(terms: Sequence[Term | ActiveTerm]) -> bool:
    """Whether any term takes the correlation of cells, or regions that follow from it."""
    return any(term.rows.map == "correlated" or "regions" in inputs_of(term.loss) for term in terms)


def takes_snapshots(active: Sequence[ActiveTerm]) -> bool:
    """Whether any term takes the labels of earlier states of the student."""
    return any(term.rows.target == "snapshots" for term in active)


def total_loss(active: Sequence[ActiveTerm], inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term's value and logs, detached and still on the device.

    Where the terms say so, the sum is divided by the weights of those that there are rows for.

    All count by the share of these images in the whole batch, so that the sums over its parts are those of the batch.
    """
    groups = [(term, each, len(of_term)) for term in active for of_term in [inputs.of(term.rows)] for each in of_term]
    values = [evaluate_loss(term.loss, each) for term, each, _ in groups]
    divisors = [
        (each.label != IGNORE_INDEX).sum() if value.divisor is None else value.divisor
        for (_, each, _), value in zip(groups, values, strict=True)
    ]
    shares = inputs.shares(divisors)
    total: Tensor | float = 0.0
    logs: dict[str, Tensor] = {}
    for (term, _, count), value, share in zip(groups, values, shares, strict=True):
        total = total + term.weight_at(inputs.progress) / count * (value.loss * share)
        for name, log in {term.name: value.loss.detach(), **_prefixed(term.name, value.logs)}.items():
            weighted = log.float() * share / count
            logs[name] = logs[name] + weighted if name in logs else weighted
    if any(term.divided for term in active):
        total = total / (sum(term.weight_at(inputs.progress) for term in active if inputs.has(term.rows)) or 1.0)
    return torch.as_tensor(total), logs


def pixel_weights(active: list[ActiveTerm], logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
    """The weight of every pixel of pseudo-labelled images, for reports.

    Args:
        active: The result of `terms_of_stage`.
        logits: (B, C, H, W), from the student.
        label: int64 (B, H, W), pseudo-labels.
        confidence: (B, H, W), from the teacher.

    Returns:
        Float (B, H, W): the weighted mean over the terms that weight pixels; if none does, 1 wherever there is a label.
    """
    weighing = [(term.weight, term.loss) for term in active if isinstance(term.loss, WeighsPixels)]
    if not weighing:
        return (label != IGNORE_INDEX).float()
    total = sum(weight * loss.pixel_weights(logits, label, confidence) for weight, loss in weighing)
    return torch.as_tensor(total) / sum(weight for weight, _ in weighing)


@torch.no_grad()
def selected_weights(active: Sequence[ActiveTerm], pixels: Pixels) -> Tensor:
    """The weight that selections give to the pixels a teacher labelled, for reports.

    Selections that learn as they go are copied first, so they learn nothing from it.

    Args:
        active: The terms of a stage.
        pixels: What the teacher says.

    Returns:
        Float (B, H, W): the weighted mean over the terms that select pixels; if none does, 1. It is 0 without a label.
    """
    of_unlabelled = [term for term in active if term.rows.on != "labelled"]
    selecting = [(term.weight, term.loss) for term in of_unlabelled if isinstance(term.loss, SelectsPixels)]
    valid = pixels.valid.float()
    if not selecting:
        return valid
    total = sum(weight * copy.deepcopy(loss.selection)(pixels).float() for weight, loss in selecting)
    return torch.as_tensor(total) / sum(weight for weight, _ in selecting) * valid


def _loss_faults(spec: Mapping[str, Any], where: str, classes: LabelledClasses | None) -> list[str]:
    if faults := LOSSES.faults(spec, where):
        return faults
    try:
        LOSSES.build(spec, where, classes=classes)  # checks the values, too
    except ConfigError as error:
        return [f"{where}: {error}"]
    return []


def _of_loss(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in _OF_EVERY_TERM}


def _prefixed(name: str, logs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}/{key}": log for key, log in logs.items()}
