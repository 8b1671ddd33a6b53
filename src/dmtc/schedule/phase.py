"""A phase, which trains one network once, and functions on plans, which are lists of phases."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dmtc.core.types import Stage


@dataclass(frozen=True, slots=True)
class Phase:
    """One training run of one network.

    Attributes:
        name: For example "r1-a": round 1, network a. Round 0 is the supervised start.
        stage: Whether loss terms have their weights of the "start", of the "rounds" or of the "online" phase.
        trainee: Letter of the network to train.
        init_from: Phase whose final weights it starts from; None means the network's starting weights.
        label_from: Phase whose final weights are the teacher; None if nothing labels the images before the phase.
        label_ratio: Share of every class, in (0, 1], kept as pseudo-labels; None keeps what the loss selects.
        steps: Number of optimizer steps.
        learning_rate: Initial rate, which the rate curve scales over `steps`.
        labelled_batch: Labelled images per step.
        pseudo_batch: Unlabelled images per step.
        evaluations: Number of times the validation images are scored, the last one after the last step.
        teacher: Who labels the unlabelled images within the step; None: nobody.
        together: Phases that take their steps together, this one included, because their networks teach each other;
            empty for a phase of its own.
        kept_after: Steps after which the weights are kept, too, so that a later phase can rank images by them.
        ranked_by: Phase whose kept weights rank the unlabelled images by how well they agree with its last; None: no
            ranking.
        image_share: Share of the ranked images that it learns from, in (0, 1], those of the best agreement.
        keeps_labels_of: Phase whose labels stay; `label_from` labels only images that have none of it. None: no phase.
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
    teacher: str | None = None
    together: Sequence[str] = ()
    kept_after: Sequence[int] = ()
    ranked_by: str | None = None
    image_share: float = 1.0
    keeps_labels_of: str | None = None

    @property
    def needs(self) -> set[str]:
        """Earlier phases that it cannot do without."""
        named = (self.init_from, self.label_from, self.ranked_by, self.keeps_labels_of)
        return {name for name in named if name is not None}

    @property
    def rate_of(self) -> Stage:
        """The part of `schedule` that sets its learning rate: a network that starts over has that of the start."""
        return "start" if self.init_from is None and self.stage == "rounds" else self.stage

    def share_of(self, images: int) -> int:
        """Number of images that it learns from, of so many unlabelled ones."""
        return max(1, int(images * self.image_share))

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether it learns from unlabelled images, whoever labels them."""
        return self.pseudo_batch > 0

    @property
    def taught_by(self) -> str | None:
        """The phase or the teacher whose labels it learns from; None if it learns from labelled images only."""
        return self.label_from or self.teacher

    @property
    def scored_after(self) -> set[int]:
        """Steps after which the validation images are scored: evenly spaced, including the last."""
        return {round(self.steps * (i + 1) / self.evaluations) for i in range(self.evaluations)}


def kept_name(step: int) -> str:
    """Name of the weights that are kept after a step."""
    return f"step-{step}"


def trainings_of(plan: list[Phase]) -> list[list[Phase]]:
    """Group the phases that take their steps together; most are alone."""
    groups: dict[tuple[str, ...], list[Phase]] = {}
    for phase in plan:
        groups.setdefault(tuple(phase.together) or (phase.name,), []).append(phase)
    return list(groups.values())


def independent_phases(plan: list[Phase]) -> list[list[Phase]]:
    """Split a plan into runs of consecutive phases that can train in parallel: on different networks, independently."""
    groups: list[list[Phase]] = []
    for phase in plan:
        group = groups[-1] if groups else []
        if group and not any(other.name in phase.needs or other.trainee == phase.trainee for other in group):
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


def completed_round(phases: list[Phase], plan: list[Phase]) -> int | None:
    """The round that some phases of a plan complete, if no later phase belongs to it or to an earlier one.

    Args:
        phases: Phases that take their steps together or side by side.
        plan: The plan, in its order.
    """
    number = max(len(phases_before(phase, plan)) for phase in phases)
    later = plan[max(plan.index(phase) for phase in phases) + 1 :]
    return number if all(len(phases_before(phase, plan)) > number for phase in later) else None


def plan_to_json(plan: list[Phase]) -> list[dict[str, Any]]:
    """Convert a plan to plain dictionaries, for plan.json."""
    return [dataclasses.asdict(phase) for phase in plan]


def plan_from_json(entries: list[dict[str, Any]]) -> list[Phase]:
    """The inverse of `plan_to_json`."""
    lists = ("together", "kept_after")
    return [Phase(**{**entry, **{name: tuple(entry[name]) for name in lists if name in entry}}) for entry in entries]
