"""Measured costs as plain values, for a page or a JSON file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dmtc.core.types import Stage

_WORKING_SPACE = 1.2
"""Factor for the temporary memory of operations, which is not counted; docs/benchmarks.md has measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Device memory of a part of a step, counted on two small parts.

    Attributes:
        fixed: Bytes of weights, gradients, optimizer state, and whatever losses need regardless of the batch size.
        per_image: Peak bytes of the forward and backward pass per image.
    """

    fixed: int
    per_image: int

    def estimate(self, images: int) -> int:
        """Bytes for a number of images, including temporary memory."""
        return round(_WORKING_SPACE * (self.fixed + images * self.per_image))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """One optimizer step at a given batch size.

    Attributes:
        images: Images in the step.
        seconds: Duration without reading images; None if memory does not suffice.
        estimated_bytes: Device memory, estimated.
        peak_bytes: Device memory measured on CUDA; None elsewhere.
    """

    images: int
    seconds: float | None
    estimated_bytes: int
    peak_bytes: int | None

    @property
    def bytes(self) -> int:
        """Device memory, measured if possible."""
        return self.estimated_bytes if self.peak_bytes is None else self.peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Training in one stage of the plan.

    Attributes:
        stage: "start", "rounds" or "online".
        steps: The recipe's own step, then steps of other batch sizes.
        accumulate: Number of parts that a step's images are split into.
        operations: Floating-point operations per image of the network's forward and backward pass, counting
            multiplications and additions.
        loss_share: Share in [0, 1] of the recipe's own step spent in the loss terms, forward and backward.
        embedding_terms: Names of the terms that take an embedding.
        seconds_without_embedding: Duration of the recipe's own step without these terms and the projection head; None
            if there are none, or no others.
        seconds_without: Duration of the recipe's own step without one of its parts, for each that it has: "teacher",
            all passes of its own; "teacher_maps", of these the ones over what the student sees, which a contrast takes;
            "correlation" of cells, its head, regions and terms; "mixing"; "colors".
        memory: Memory of a part of a step.
        crops_per_s: Training crops per second that one process reads and augments.
    """

    stage: Stage
    steps: Sequence[StepCost]
    accumulate: int
    operations: int
    loss_share: float | None
    embedding_terms: Sequence[str]
    seconds_without_embedding: float | None
    seconds_without: Mapping[str, float]
    memory: Memory
    crops_per_s: float

    @property
    def own(self) -> StepCost:
        """The recipe's own step."""
        return self.steps[0]

    @property
    def embedding_adds(self) -> float | None:
        """Time added to a step by the terms with an embedding, as a share of the step without them."""
        if self.own.seconds is None or self.seconds_without_embedding is None:
            return None
        return self.own.seconds / self.seconds_without_embedding - 1

    def adds(self, part: str) -> float | None:
        """Time added to a step by one of its parts, as a share of the step without it; see `seconds_without`."""
        if self.own.seconds is None or part not in self.seconds_without:
            return None
        return self.own.seconds / self.seconds_without[part] - 1

    @property
    def workers_needed(self) -> int | None:
        """Number of loader processes that keep up with training."""
        if self.own.seconds is None:
            return None
        return math.ceil(self.own.images / self.own.seconds / self.crops_per_s)

    def rate(self, step: StepCost) -> float | None:
        """Floating-point operations per second over the whole step."""
        return None if step.seconds is None else self.operations * step.images / step.seconds

    def seconds(self, workers: int) -> float | None:
        """Seconds of the recipe's own step including reading: in parallel with workers, or before the step without."""
        if self.own.seconds is None:
            return None
        reading = self.own.images / self.crops_per_s
        return max(self.own.seconds, reading / workers) if workers else self.own.seconds + reading


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCost:
    """A pass over whole images.

    Attributes:
        images_per_s: Speed of the pass as in a run, from files to results.
        plain_images_per_s: Speed of the network alone on the same images.
    """

    images_per_s: float
    plain_images_per_s: float

    @property
    def efficiency(self) -> float:
        """Speed as a share of plain inference."""
        return self.images_per_s / self.plain_images_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """A repeated part of the plan."""

    name: str
    times: int
    seconds: float | None

    @property
    def total(self) -> float | None:
        """Seconds of all repetitions; None if unknown."""
        return None if self.seconds is None else self.times * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """All measurements, and the estimate for the whole plan.

    Attributes:
        matrix_rate: Floating-point operations per second of a large matrix product in the run's precision.
        free_bytes: Free memory of the device beforehand; None if unknown.
        workers: Number of loader processes of the run.
        stages: The stages of the plan.
        labelling: Predicting and storing pseudo-labels; None if the plan does not.
        evaluation: Scoring validation images under the recipe's protocol, which may enlarge them or predict repeatedly.
        plan: All parts of the plan.
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
        """Seconds of the whole plan; None if a part of it does not fit in memory."""
        totals = [part.total for part in self.plan]
        return None if None in totals else sum(total for total in totals if total is not None)

    def fits(self, step: StepCost) -> bool | None:
        """Whether a step fits in the free memory; None if unknown."""
        if step.seconds is None:
            return False
        return None if self.free_bytes is None else step.bytes <= self.free_bytes

    def to_json(self) -> dict[str, Any]:
        """All measurements and derived values as plain values."""
        record: dict[str, Any] = asdict(self)
        record["seconds"] = self.seconds
        for stage, plain in zip(self.stages, record["stages"], strict=True):
            plain["embedding_adds"] = stage.embedding_adds
            plain["adds"] = {part: stage.adds(part) for part in stage.seconds_without}
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
