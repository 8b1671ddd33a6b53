"""A network in training, and its forward passes over the views of a step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmtc.core.types import Batch
from dmtc.engine.average import AveragedWeights
from dmtc.engine.passes import PERTURBED, Block, Outputs, Places, is_strong, strong
from dmtc.engine.snapshots import StudentSnapshots
from dmtc.losses.base import inputs_of
from dmtc.losses.terms import ActiveTerm, TermRows, needs_correlation
from dmtc.models import SegmentationModel
from dmtc.models.perturbation import Perturbation
from dmtc.pseudo.teachers import Scored


@dataclass(slots=True)
class Student:
    """A network in training, with everything its steps need.

    Attributes:
        model: The network, on its device.
        terms: The active terms.
        optimizer: Over the model's parameters; a group may have an `lr_scale`, a factor of the learning rate.
        average: Average of the model's weights, updated after every step; None for no average.
        name: Prefix of its logged values, as in "a/supervised", when several students share a step.
        score: Which weights are saved and passed on, if there is an average.
        snapshots: Earlier states of the model that label its images; None for none.
    """

    model: SegmentationModel
    terms: Sequence[ActiveTerm]
    optimizer: torch.optim.Optimizer
    average: AveragedWeights | None = None
    name: str = ""
    score: Scored = "average"
    snapshots: StudentSnapshots | None = None

    @property
    def scored(self) -> tuple[Scored, ...]:
        """Which weights are scored; the first are those that are saved."""
        if self.average is None:
            return ("student",)
        return ("average", "student") if self.score == "average" else ("student", "average")

    def in_place(self, which: Scored) -> AbstractContextManager[None]:
        """Put the weights, or their average, into the network for the duration of the context."""
        return self.average.in_place() if which == "average" and self.average is not None else nullcontext()

    def predictor(self, predict: Callable[[Tensor], Tensor], which: Scored) -> Callable[[Tensor], Tensor]:
        """The predictor of the network, with its weights or their average."""

        def predict_with(images: Tensor) -> Tensor:
            with self.in_place(which):
                return predict(images)

        return predict_with

    def own(self, values: Mapping[str, float]) -> dict[str, float]:
        """The logged values of this student, without its name, and those that all students share."""
        if not self.name:
            return dict(values)
        prefix = f"{self.name}/"
        shared = {name: value for name, value in values.items() if "/" not in name and name != "loss"}
        return shared | {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

    def state(self) -> dict[str, Any]:
        """Everything that training has changed, for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "snapshots": None if self.snapshots is None else self.snapshots.state(),
            "terms": {term.name: term.loss.state_dict() for term in self.terms if isinstance(term.loss, nn.Module)},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.restore(state["average"])
        if self.snapshots is not None:
            self.snapshots.restore(state["snapshots"])
        for term in self.terms:
            if isinstance(term.loss, nn.Module):
                term.loss.load_state_dict(state["terms"][term.name])

    @property
    def regions(self) -> int:
        """The most regions that any term takes of an image."""
        return max((getattr(term.loss, "regions", 0) for term in self.terms), default=0)

    @property
    def compared(self) -> list[TermRows]:
        """The rows of which any term takes the teacher's maps."""
        return [term.rows for term in self.terms if "teacher_maps" in inputs_of(term.loss)]

    @property
    def needs_embedding(self) -> bool:
        """Whether any term uses the projection head's embedding."""
        return any("embedding" in inputs_of(term.loss) for term in self.terms)

    def statistics(self) -> list[Tensor]:
        """What forward passes change: running statistics of the network, and the average's own."""
        return [*self.model.buffers(), *(self.average.statistics() if self.average is not None else ())]

    def forward(
        self,
        names: Sequence[Block],
        blocks: Mapping[Block, Batch],
        outputs: Outputs,
        perturbation: Perturbation | None,
        rng: np.random.Generator,
        places: Places,
    ) -> None:
        """One pass over some blocks, as one batch, with gradient.

        Args:
            names: The blocks; perturbed copies come after the blocks that they are of.
            blocks: Images of each block.
            outputs: Receives the maps.
            perturbation: Perturbs the features of the copies or, if the step has none, of strong views.
            rng: For the perturbation.
            places: Where the rows of each block are in the whole batch.
        """
        counts = {name: len(blocks[name].ids) for name in names if name != PERTURBED and name in blocks}
        shown = {name: count for name, count in counts.items() if count}
        if not shown:
            return
        images = [blocks[name].image for name in shown]
        image = images[0] if len(images) == 1 else torch.cat(images)
        rows = dict(shown)
        if PERTURBED in names:
            rows |= {f"{PERTURBED} {name}": count for name, count in shown.items()}
        hook = _hook(perturbation, names, shown, rng, places)
        keywords: dict[str, Any] = {} if hook is None else {"perturb": hook}
        if needs_correlation(self.terms):
            keywords["correlation"] = True
        outputs.add(rows, self.model.maps(image, embedding=self.needs_embedding, **keywords))


def _hook(
    perturbation: Perturbation | None,
    names: Sequence[Block],
    shown: Mapping[Block, int],
    rng: np.random.Generator,
    places: Places,
) -> "_Copies | _Strong | None":
    """What perturbs the features of a pass, if anything does."""
    if perturbation is None:
        return None
    if PERTURBED in names:
        return _Copies(perturbation, rng, [place for name in shown for place in places.of(name)], places.total)
    are_strong = [is_strong(name) for name in shown for _ in range(shown[name])]
    if not any(are_strong):
        return None
    first, count = are_strong.index(True), sum(are_strong)
    assert all(are_strong[first : first + count]), "strong views are neighbors in a pass"
    return _Strong(perturbation, rng, first, count, places.of(strong(0)), places.unlabelled)


@dataclass(frozen=True, slots=True)
class _Copies:
    """Adds perturbed copies of all rows."""

    perturbation: Perturbation
    rng: np.random.Generator
    images: Sequence[int]
    total: int

    def __call__(self, maps: list[Tensor]) -> list[Tensor]:
        perturbed = self.perturbation(maps, self.rng, self.images, self.total)
        return [torch.cat(pair) for pair in zip(maps, perturbed, strict=True)]


@dataclass(frozen=True, slots=True)
class _Strong:
    """Perturbs the rows of the strong views."""

    perturbation: Perturbation
    rng: np.random.Generator
    first: int
    count: int
    images: Sequence[int]
    total: int

    def __call__(self, maps: list[Tensor]) -> list[Tensor]:
        last = self.first + self.count
        rows = [each[self.first : last] for each in maps]
        views = len(rows[0]) // len(self.images)
        if self.perturbation.views == 1:  # each view by itself, like further images
            images = [place + view * self.total for view in range(views) for place in self.images]
            perturbed = self.perturbation(rows, self.rng, images, self.total * views)
        else:
            perturbed = self.perturbation(rows, self.rng, self.images, self.total)
        if self.count == len(maps[0]):
            return perturbed
        return [torch.cat([each[: self.first], new, each[last:]]) for each, new in zip(maps, perturbed, strict=True)]
