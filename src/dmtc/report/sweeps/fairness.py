"""Which runs a method's gain is counted over: the same but for the method, and of fair length."""

from collections.abc import Sequence

from dmtc.report.sweeps.differences import is_of, varying
from dmtc.report.sweeps.finding import LENGTHS, RunRecord

_OF_THE_METHOD = (
    "method",
    "loss",
    "schedule.name",
    "schedule.rounds",
    "schedule.online",
    "teacher",
    "views",
    "mixing",
    "steps",
    "model.weights.b",
    "model.normalization.b",
)
"""Settings that define the method; a method and its baseline may differ in these."""


def is_fair(run: RunRecord, base: RunRecord, over: Sequence[str]) -> bool:
    """Whether two runs of the same images differ only in the method, and the length of the baseline is fair.

    A baseline without rounds is as long as the start or all phases.
    """
    differing = varying([run, base])
    allowed = _OF_THE_METHOD if _has_rounds(base) and _has_rounds(run) else (*_OF_THE_METHOD, *LENGTHS)
    if any(not is_of(key, (*allowed, *over)) for key in differing) or _terms(base) - _terms(run):
        return False
    if _is_as_long_as_rounds(run):
        return base.settings.get("schedule.name") == "supervised_long"
    if _has_rounds(base) and _has_rounds(run):
        return not any(is_of(key, ("schedule.rounds",)) for key in differing)
    lengths = _lengths(run)
    return not lengths or not _lengths(base) or _lengths(base)[-1] in (lengths[0], lengths[-1])


def _terms(run: RunRecord) -> set[str]:
    """The loss terms that are switched on, whatever losses these use."""
    settings = run.settings
    named = {key.removesuffix(".name") for key in settings if key.startswith("loss.") and key.endswith(".name")}
    return {key for key in named if key != "loss"}


def _has_rounds(run: RunRecord) -> bool:
    return any(phase["label_from"] or phase["teacher"] for phase in run.results["phases"])


def _is_as_long_as_rounds(run: RunRecord) -> bool:
    """Whether it has an online phase that passes as many images as the start and all rounds, for want of a length."""
    settings = run.settings
    lengths = (f"schedule.online.{length}" for length in ("steps", "epochs", "root_steps"))
    online = all(phase["teacher"] and phase["label_ratio"] is None for phase in run.results["phases"])
    return online and all(settings.get(length) is None for length in lengths)


def _lengths(run: RunRecord) -> list[int]:
    """Total steps of the first network after each of its phases."""
    steps = [phase["steps"] for phase in run.results["phases"] if phase["trainee"] == "a"]
    return [sum(steps[: i + 1]) for i in range(len(steps))]
