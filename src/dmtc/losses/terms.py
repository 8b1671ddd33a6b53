"""The terms of the training loss: which losses, and their weights in the start and in the rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.registry import argument_faults, raise_faults, unknown
from dmtc.core.types import IGNORE_INDEX, Stage, StepInputs
from dmtc.losses.base import LOSSES, Loss, WeighsPixels, evaluate_loss, inputs_of


@dataclass(frozen=True, slots=True)
class TermWeight:
    """The weight of a term in each stage."""

    start: float
    rounds: float


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the training loss."""

    name: str
    loss: Loss
    weight: TermWeight


def term_specs(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The terms in the `loss` part of a config: every mapping is one; null switches a term off."""
    return {name: entry for name, entry in spec.items() if isinstance(entry, Mapping) and name not in _OPTIONS}


_OPTIONS = ("name", "terms", "gamma", "contrast_weight")
"""The options in the `loss` part of a config that are not terms."""


def term_faults(spec: Mapping[str, Any]) -> list[str]:
    """All faults of the `loss` part of a config, one sentence each."""
    faults = [
        f"loss: unknown option {unknown(name, _OPTIONS)}; a term is a mapping with name: and weight:"
        for name, entry in spec.items()
        if name not in _OPTIONS and entry is not None and not isinstance(entry, Mapping)
    ]
    if not isinstance(spec.get("name"), str):
        faults.append(f"loss.name should be a name, but is {spec.get('name')!r}")
    declared = spec.get("terms")
    if not isinstance(declared, Mapping) or not all(isinstance(name, str) for name in declared.values()):
        faults.append(f"loss.terms should name the loss of each term, but is {declared!r}")
    for name, entry in term_specs(spec).items():
        where = f"loss.{name}"
        faults += LOSSES.faults({k: v for k, v in entry.items() if k != "weight"}, where)
        if isinstance(entry.get("weight"), Mapping):
            faults += argument_faults(TermWeight, entry["weight"], f"{where}.weight")
        else:
            faults.append(f"{where}.weight should be {{start: ..., rounds: ...}}, but is {entry.get('weight')!r}")
    return faults


def build_terms(spec: Mapping[str, Any]) -> list[Term]:
    """Build the terms of the `loss` part of a config after checking all of it.

    Raises:
        ConfigError: Any term has a fault, or there are no terms.
    """
    raise_faults(term_faults(spec))
    terms = [
        Term(
            name,
            LOSSES.build({k: v for k, v in entry.items() if k != "weight"}, f"loss.{name}"),
            TermWeight(**entry["weight"]),
        )
        for name, entry in term_specs(spec).items()
    ]
    for term in terms:
        inputs_of(term.loss)  # to report unknown inputs of a loss before training, not in the first step
    return terms


def terms_of_stage(terms: list[Term], stage: Stage) -> list[tuple[str, float, Loss]]:
    """The terms with a weight other than 0 in a stage, and these weights.

    Raises:
        ConfigError: There are none.
    """
    active = [(term.name, getattr(term.weight, stage), term.loss) for term in terms]
    active = [(name, weight, loss) for name, weight, loss in active if weight != 0]
    if not active:
        names = ", ".join(f"loss.{term.name}.weight.{stage}" for term in terms) or "loss"
        raise ConfigError(f"no loss term counts in the {stage}: set one of {names} above 0, or choose another schedule")
    return active


def needs_embedding(terms: list[Term]) -> bool:
    """Whether any term with a weight other than 0 takes the projection head's embedding."""
    active = [term for term in terms if term.weight.start != 0 or term.weight.rounds != 0]
    return any("embedding" in inputs_of(term.loss) for term in active)


def total_loss(active: Sequence[tuple[str, float, Loss]], inputs: StepInputs) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term's value and logs, detached and still on the device."""
    total = torch.zeros((), device=inputs.logits.device)
    logs: dict[str, Tensor] = {}
    for name, weight, loss in active:
        value = evaluate_loss(loss, inputs)
        total = total + weight * value.loss
        logs[name] = value.loss.detach()
        logs.update({f"{name}/{key}": log for key, log in value.logs.items()})
    return total, logs


def pixel_weights(active: list[tuple[str, float, Loss]], logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
    """The weight of every pixel of pseudo-labelled images, for reports.

    Args:
        active: The result of `terms_of_stage`.
        logits: (B, C, H, W), from the student.
        label: int64 (B, H, W), pseudo-labels.
        confidence: (B, H, W), from the teacher.

    Returns:
        Float (B, H, W): the weighted mean over the terms that weight pixels; if none does, 1 wherever there is a label.
    """
    weighing = [(weight, loss) for _, weight, loss in active if isinstance(loss, WeighsPixels)]
    if not weighing:
        return (label != IGNORE_INDEX).float()
    total = sum(weight * loss.pixel_weights(logits, label, confidence) for weight, loss in weighing)
    return torch.as_tensor(total) / sum(weight for weight, _ in weighing)
