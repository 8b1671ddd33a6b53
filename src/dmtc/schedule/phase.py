"""A phase, which trains one network once, and functions on plans, which are lists of phases."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from dmtc.core.types import Stage


@dataclass(frozen=True, slots=True)
class Phase:
    """One training run of one network.

    Attributes:
        name: For example "r1-a": round 1, network a. Round 0 is the supervised start.
        stage: Whether loss terms have their weights of the "start" or of the "rounds".
        trainee: Letter of the network to train.
        init_from: Phase whose final weights it starts from; None means the network's starting weights.
        label_from: Phase whose final weights are the teacher; None means labelled images only.
        label_ratio: Share of every class, in (0, 1], kept as pseudo-labels; None without pseudo-labels.
        steps: Number of optimizer steps.
        learning_rate: Initial rate, which the rate curve scales over `steps`.
        labelled_batch: Labelled images per step.
        pseudo_batch: Pseudo-labelled images per step.
        evaluations: Number of times the validation images are scored, the last one after the last step.
    """

    name: str
    stage: Stage
    trainee: str
    init_from: str | None
    label_from: str | None
    label_ratio: float | None
    steps: int
    learning_rate: float
    labelled_batch: int
    pseudo_batch: int
    evaluations: int

    @property
    def scored_after(self) -> set[int]:
        """Steps after which the validation images are scored: evenly spaced, including the last."""
        return {round(self.steps * (i + 1) / self.evaluations) for i in range(self.evaluations)}


def independent_phases(plan: list[Phase]) -> list[list[Phase]]:
    """Split a plan into runs of consecutive phases that can train in parallel: on different networks, independently."""
    groups: list[list[Phase]] = []
    for phase in plan:
        group = groups[-1] if groups else []
        needed = {phase.init_from, phase.label_from}
        if group and not any(other.name in needed or other.trainee == phase.trainee for other in group):
            group.append(phase)
        else:
            groups.append([phase])
    return groups


def networks_of(plan: list[Phase]) -> list[str]:
    """Letters of the networks that a plan trains, sorted."""
    return sorted({phase.trainee for phase in plan})


def phases_before(phase: Phase, plan: list[Phase]) -> list[Phase]:
    """Earlier phases of the same network."""
    of_network = [other for other in plan if other.trainee == phase.trainee]
    return of_network[: of_network.index(phase)]


def plan_to_json(plan: list[Phase]) -> list[dict[str, Any]]:
    """Convert a plan to plain dictionaries, for plan.json."""
    return [dataclasses.asdict(phase) for phase in plan]


def plan_from_json(entries: list[dict[str, Any]]) -> list[Phase]:
    """The inverse of `plan_to_json`."""
    return [Phase(**entry) for entry in entries]
