"""What was measured, as plain values that a page or a JSON file is made of."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dmtc.core.types import Stage

_WORKING_SPACE = 1.2
"""For what operations need inside, which is not counted; docs/benchmarks.md has what processes held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Device memory of a part of a step, from what was counted on two small ones.

    Attributes:
        fixed: Bytes of weights, gradients, what the optimizer keeps, and what a loss needs whatever the images' number.
        per_image: Bytes that live at once in forward and backward pass for each image.
    """

    fixed: int
    per_image: int

    def estimate(self, images: int) -> int:
        """Bytes for so many images, working space included."""
        return round(_WORKING_SPACE * (self.fixed + images * self.per_image))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """One optimizer step of a certain number of images.

    Attributes:
        images: In the step.
        seconds: Of the step, images at hand; None where memory does not suffice.
        estimated_bytes: Device memory, estimated.
        peak_bytes: Device memory measured on CUDA; None elsewhere.
    """

    images: int
    seconds: float | None
    estimated_bytes: int
    peak_bytes: int | None

    @property
    def bytes(self) -> int:
        """Device memory, measured if it could be."""
        return self.estimated_bytes if self.peak_bytes is None else self.peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Training in one stage of the plan.

    Attributes:
        stage: "start" or "rounds".
        steps: The recipe's own step, then those of other batch sizes.
        accumulate: Parts that a step's images are split into.
        operations: Floating-point operations an image of the network's forward and backward pass, multiplication and
            addition counted.
        loss_share: Share in [0, 1] of the recipe's own step that the loss terms take, forward and backward.
        embedding_terms: Names of the terms that need an embedding.
        seconds_without_embedding: Of the recipe's own step without these terms, and so without the projection head;
            None if there are none, or no others.
        memory: Of a part.
        crops_per_s: Training crops a second that one process reads and augments.
    """

    stage: Stage
    steps: Sequence[StepCost]
    accumulate: int
    operations: int
    loss_share: float | None
    embedding_terms: Sequence[str]
    seconds_without_embedding: float | None
    memory: Memory
    crops_per_s: float

    @property
    def own(self) -> StepCost:
        """The recipe's own step."""
        return self.steps[0]

    @property
    def embedding_adds(self) -> float | None:
        """What the terms with an embedding add to a step, as a share of the step without them."""
        if self.own.seconds is None or self.seconds_without_embedding is None:
            return None
        return self.own.seconds / self.seconds_without_embedding - 1

    @property
    def workers_needed(self) -> int | None:
        """Processes that read as fast as the network learns."""
        if self.own.seconds is None:
            return None
        return math.ceil(self.own.images / self.own.seconds / self.crops_per_s)

    def rate(self, step: StepCost) -> float | None:
        """Floating-point operations a second of a step, all of its seconds counted."""
        return None if step.seconds is None else self.operations * step.images / step.seconds

    def seconds(self, workers: int) -> float | None:
        """Of the recipe's own step, reading counted: beside the step in other processes, or before it in this one."""
        if self.own.seconds is None:
            return None
        reading = self.own.images / self.crops_per_s
        return max(self.own.seconds, reading / workers) if workers else self.own.seconds + reading


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCost:
    """A pass over whole images.

    Attributes:
        images_per_s: As the run does it, from files to results.
        plain_images_per_s: The network alone on the same images.
    """

    images_per_s: float
    plain_images_per_s: float

    @property
    def efficiency(self) -> float:
        """Share of plain inference's speed."""
        return self.images_per_s / self.plain_images_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """Something that the plan does many times."""

    name: str
    times: int
    seconds: float | None

    @property
    def total(self) -> float | None:
        """Seconds of all times; None if one time's are not known."""
        return None if self.seconds is None else self.times * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was measured, and what follows for the whole plan.

    Attributes:
        matrix_rate: Floating-point operations a second of a large matrix product in the run's precision.
        free_bytes: Memory of the device that was free before; None where that cannot be told.
        workers: Loader processes of the run.
        stages: Those that the plan has.
        labelling: Predictions made and stored; None if the plan never labels.
        evaluation: Validation images scored under the recipe's protocol, which may enlarge them or ask several times.
        plan: All that the plan does.
    """

    matrix_rate: float
    free_bytes: int | None
    workers: int
    stages: Sequence[StageCost]
    labelling: PassCost | None
    evaluation: PassCost
    plan: Sequence[PlanPart]

    @property
    def seconds(self) -> float | None:
        """Of the whole plan; None if a part of it does not fit."""
        totals = [part.total for part in self.plan]
        return None if None in totals else sum(total for total in totals if total is not None)

    def fits(self, step: StepCost) -> bool | None:
        """Whether a step's memory was free; None where that cannot be told."""
        if step.seconds is None:
            return False
        return None if self.free_bytes is None else step.bytes <= self.free_bytes

    def to_json(self) -> dict[str, Any]:
        """Everything measured, and what follows from it, as plain values."""
        record: dict[str, Any] = asdict(self)
        record["seconds"] = self.seconds
        for stage, plain in zip(self.stages, record["stages"], strict=True):
            plain["embedding_adds"] = stage.embedding_adds
            plain["workers_needed"] = stage.workers_needed
            for step, entry in zip(stage.steps, plain["steps"], strict=True):
                rate = stage.rate(step)
                entry["share_of_matrix_rate"] = None if rate is None else rate / self.matrix_rate
                entry["fits"] = self.fits(step)
        for name in ("labelling", "evaluation"):
            cost: PassCost | None = getattr(self, name)
            if cost is not None:
                record[name]["efficiency"] = cost.efficiency
        return record
