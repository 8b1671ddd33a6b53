"""A phase of a plan: one training of one network, and what a plan of phases can be asked."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from dmtc.core.types import Stage


@dataclass(frozen=True, slots=True)
class Phase:
    """One training of one network.

    Attributes:
        name: For example "r1-a": round 1, network a. Round 0 is the supervised start.
        stage: Which weights the loss terms have: those of the "start" or those of the "rounds".
        trainee: Letter of the network that is trained.
        init_from: Phase whose last weights it starts from; None means the network's starting weights.
        label_from: Phase whose last weights label the unlabelled images; None means labelled images only.
        label_ratio: Share of every class, in (0, 1], kept as pseudo-labels; None without pseudo-labels.
        steps: Optimizer steps.
        learning_rate: At the first step; the rate schedule lowers it over `steps`.
        labelled_batch: Labelled images a step.
        pseudo_batch: Pseudo-labelled images a step.
        evaluations: How often the validation images are scored; the last time is after the last step.
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
        """Steps after which the validation images are scored, evenly spread, the last step among them."""
        return {round(self.steps * (i + 1) / self.evaluations) for i in range(self.evaluations)}


def independent_phases(plan: list[Phase]) -> list[list[Phase]]:
    """The plan in pieces of neighbors that could run at the same time: none needs another, each has its own network."""
    pieces: list[list[Phase]] = []
    for phase in plan:
        piece = pieces[-1] if pieces else []
        needed = {phase.init_from, phase.label_from}
        if piece and not any(other.name in needed or other.trainee == phase.trainee for other in piece):
            piece.append(phase)
        else:
            pieces.append([phase])
    return pieces


def networks_of(plan: list[Phase]) -> list[str]:
    """Letters of the networks that a plan trains, in order."""
    return sorted({phase.trainee for phase in plan})


def phases_before(phase: Phase, plan: list[Phase]) -> list[Phase]:
    """What the network of a phase has been through before it."""
    of_network = [other for other in plan if other.trainee == phase.trainee]
    return of_network[: of_network.index(phase)]


def plan_to_json(plan: list[Phase]) -> list[dict[str, Any]]:
    """The plan as plain dictionaries, for plan.json."""
    return [dataclasses.asdict(phase) for phase in plan]


def plan_from_json(entries: list[dict[str, Any]]) -> list[Phase]:
    """The inverse of `plan_to_json`."""
    return [Phase(**entry) for entry in entries]
