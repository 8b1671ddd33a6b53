"""The `schedule` part of a config: settings of the stages, and their checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dmtc.core.registry import argument_faults


@dataclass(frozen=True, slots=True)
class StartSettings:
    """Settings of the supervised start; an epoch is a pass over the labelled images.

    `root_steps` is converted to steps before a plan is built, see `dmtc.schedule.lengths`.
    """

    epochs: float | None
    steps: int | None
    learning_rate: float
    labelled_batch: int
    evaluations: int
    root_steps: float | None = None


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """Settings of the rounds; an epoch is a pass over the pseudo-labelled images."""

    label_ratios: list[float]
    epochs: float | None
    steps: int | None
    learning_rate: float
    labelled_batch: int
    pseudo_batch: int
    evaluations: int
    root_steps: float | None = None


@dataclass(frozen=True, slots=True)
class OnlineSettings:
    """Settings of a phase whose teacher labels within the step; an epoch is a pass over the unlabelled images.

    Without any length, the phase passes as many images forward and backward as the start and all rounds together.
    """

    epochs: float | None
    steps: int | None
    learning_rate: float
    labelled_batch: int
    unlabelled_batch: int
    evaluations: int
    root_steps: float | None = None


STAGES = {"start": StartSettings, "rounds": RoundSettings, "online": OnlineSettings}
"""Settings of each stage."""


def stage_faults(spec: Mapping[str, Any]) -> list[str]:
    """All faults of the settings that all schedules share, one sentence each."""
    faults = []
    for section, settings in STAGES.items():
        if not isinstance(spec.get(section), Mapping):
            faults.append(f"schedule.{section} should hold the settings of the {section}, but is {spec.get(section)!r}")
            continue
        found = argument_faults(settings, spec[section], f"schedule.{section}")
        faults += found or _range_faults(spec[section], f"schedule.{section}")
    limit = spec.get("limit_steps")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        faults.append(f"schedule.limit_steps should be a positive whole number or null, but is {limit!r}")
    warmup = spec.get("warmup", 0.0)
    if not (isinstance(warmup, int | float) and not isinstance(warmup, bool) and 0 <= warmup < 1):
        faults.append(f"schedule.warmup should be a share of each phase, from 0 to below 1, but is {warmup!r}")
    return faults


def own_options(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the schedule's builder, without those of the plan and the training loop."""
    shared = (*STAGES, "limit_steps", "optimizer", "rate", "warmup")
    return {key: value for key, value in spec.items() if key not in shared}


def _range_faults(settings: Mapping[str, Any], where: str) -> list[str]:
    checks: list[tuple[str, Callable[[Any], bool], str]] = [
        ("epochs", lambda v: v is None or v > 0, "above 0 or null"),
        ("steps", lambda v: v is None or v >= 1, "at least 1 or null"),
        ("root_steps", lambda v: v is None or v > 0, "above 0 or null"),
        ("learning_rate", lambda v: v > 0, "above 0"),
        (
            "labelled_batch",
            lambda v: v >= (0 if where.endswith("rounds") else 1),
            "a positive number of images",
        ),
        ("pseudo_batch", lambda v: v >= 1, "at least 1"),
        ("unlabelled_batch", lambda v: v >= 1, "at least 1"),
        ("evaluations", lambda v: v >= 1, "at least 1"),
        ("label_ratios", lambda v: all(0 < ratio <= 1 for ratio in v), "ratios above 0 and at most 1"),
    ]
    return [
        f"{where}.{key} should be {expected}, but is {settings[key]!r}"
        for key, is_valid, expected in checks
        if key in settings and not is_valid(settings[key])
    ]
