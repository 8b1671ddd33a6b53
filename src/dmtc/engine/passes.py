"""Forward passes of a student over the views of a step, and what the terms are evaluated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, Batch, Maps, StepInputs
from dmtc.losses.terms import TermRows
from dmtc.machine.processes import Processes

Block = str
"""Rows that are one view: "labelled", "weak", "perturbed", "strong 0"; or the same with other labels: "labelled taught"
by the teacher, "strong 0 seconded" by the second labeller."""

LABELLED, WEAK, PERTURBED = "labelled", "weak", "perturbed"


def strong(number: int) -> Block:
    """Block of a strong view."""
    return f"strong {number}"


def is_strong(block: Block) -> bool:
    """Whether a block is a strong view."""
    return block.startswith("strong ")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the rows of a process, or of a part of its batch, are in the whole batch.

    Attributes:
        weak: Of the unlabelled images, which have the first places.
        labelled: Of the labelled images, which follow.
        unlabelled: Number of unlabelled images in the whole batch.
        total: Number of images in it.
    """

    weak: Sequence[int]
    labelled: Sequence[int]
    unlabelled: int
    total: int

    def of(self, block: Block) -> Sequence[int]:
        """The places of a block's rows."""
        return self.labelled if shown(block) == LABELLED else self.weak

    def part(self, number: int, count: int, ahead: int) -> "Places":
        """Those of a part of the batch; see `part_of`."""
        return Places(
            self.weak[number::count], self.labelled[(number - ahead) % count :: count], self.unlabelled, self.total
        )


class Outputs:
    """The maps of a student's passes, by blocks of rows."""

    def __init__(self) -> None:
        self._passes: list[tuple[dict[Block, slice], Maps]] = []

    def add(self, rows: Mapping[Block, int], maps: Maps) -> None:
        """Add a pass over blocks of so many rows each."""
        slices, first = {}, 0
        for block, count in rows.items():
            slices[block] = slice(first, first + count)
            first += count
        self._passes.append((slices, maps))

    def __contains__(self, block: Block) -> bool:
        """Whether a pass was over this block."""
        return any(block in slices for slices, _ in self._passes)

    def found(self, blocks: Sequence[Block]) -> Maps | None:
        """Like `of`; None if any of the blocks was in no pass."""
        return self.of(blocks) if all(block in self for block in blocks) else None

    def of(self, blocks: Sequence[Block]) -> Maps:
        """The maps of some blocks, as one batch."""
        for slices, maps in self._passes:
            if list(slices) == list(blocks):
                return maps
        parts = [maps.take(slices[block]) for block in blocks for slices, maps in self._passes if block in slices]
        return parts[0] if len(parts) == 1 else Maps.cat(parts)

    def anchor(self) -> Tensor:
        """0, with a gradient of 0 for every output: the loss of a step without anything to learn from."""
        return torch.stack([(maps.logits * 0).sum() for _, maps in self._passes]).sum()


@dataclass(slots=True)
class Evaluated:
    """What the terms of a student are evaluated on, in one part of a batch.

    Attributes:
        blocks: Images and labels of each block.
        outputs: Maps of the student's passes.
        strong: Number of strong views; 0: the student learns from the weak ones.
        generator: For the terms' random draws.
        progress: The done share of the phase.
        processes: Processes among which the batch is divided.
        teacher: Maps of the teacher's passes over the same views, if any term takes them.
        totals: Number of labelled pixels in the whole batch by blocks, if the batch has several parts; None otherwise.
    """

    blocks: Mapping[Block, Batch]
    outputs: Outputs
    strong: int
    generator: torch.Generator
    progress: float
    processes: Processes
    totals: Mapping[tuple[Block, ...], Tensor] | None = None
    teacher: Outputs | None = None
    _asked: list[tuple[Block, ...]] = field(default_factory=list)
    _inputs: dict[tuple[Block, ...], StepInputs] = field(default_factory=dict)

    def of(self, rows: TermRows) -> list[StepInputs]:
        """See `TermInputs`."""
        groups = [group for group in groups_of(rows, self.strong) if self._present(group)]
        self._asked += groups
        made = [self._made(self._present(group)) for group in groups]
        return [each.correlated() for each in made] if rows.map == "correlated" else made

    def has(self, rows: TermRows) -> bool:
        """See `TermInputs`."""
        return any(block in self.blocks for group in groups_of(rows, self.strong) for block in group)

    def shares(self, divisors: Sequence[Tensor]) -> Sequence[Tensor | float]:
        """See `TermInputs`."""
        if self.totals is not None:
            counts = [valid_pixels(self._batch(self._present(group))) for group in self._asked]
            return [count / self.totals[group] for count, group in zip(counts, self._asked, strict=True)]
        if self.processes.size == 1 or not divisors:
            return [1.0] * len(divisors)
        own = torch.stack([divisor.float() for divisor in divisors])
        return list(own / self.processes.all_reduce(own.clone()).clamp(min=1))

    def _present(self, group: tuple[Block, ...]) -> tuple[Block, ...]:
        """The blocks of a group that this part of the batch has rows of."""
        return tuple(block for block in group if block in self.blocks and len(self.blocks[block].ids))

    def _made(self, group: tuple[Block, ...]) -> StepInputs:
        if group not in self._inputs:
            rows = [shown(block) for block in group]
            processes, batch = None if self.processes.size == 1 else self.processes, self._batch(group)
            theirs = None if self.teacher is None else self.teacher.found(rows)
            self._inputs[group] = StepInputs.of(
                self.outputs.of(rows), batch, self.generator, self.progress, processes, theirs
            )
        return self._inputs[group]

    def _batch(self, group: tuple[Block, ...]) -> Batch:
        return Batch.cat([self.blocks[block] for block in group])


def groups_of(rows: TermRows, strong_views: int) -> list[tuple[Block, ...]]:
    """The blocks that a term is of; each group is evaluated by itself."""
    labelled = LABELLED if rows.target == "own" else taught_block(LABELLED)
    learned = [strong(number) for number in range(strong_views)] or [WEAK]
    if rows.target == "snapshots":
        of = {"unlabelled": learned, "weak": [WEAK], "perturbed": [PERTURBED]}
        return [(seconded_block(block),) for block in of[rows.on]]
    match rows.on:
        case "labelled":
            return [(labelled,)]
        case "unlabelled":
            return [(block,) for block in learned]
        case "all":
            return [(*learned, labelled)]
        case "weak":
            return [(WEAK,)]
        case "perturbed":
            return [(PERTURBED,)]


def taught_block(block: Block) -> Block:
    """The same rows with the teacher's labels."""
    return f"{block} taught"


def seconded_block(block: Block) -> Block:
    """The same rows with the labels of the second labeller."""
    return f"{block} seconded"


def shown(block: Block) -> Block:
    """The block in a pass whose rows these are; perturbed copies are of the weak views."""
    rows = block.removesuffix(" taught").removesuffix(" seconded")
    return f"{PERTURBED} {WEAK}" if rows == PERTURBED else rows


def valid_pixels(batch: Batch) -> Tensor:
    """Number of pixels with a label, on the device."""
    return (batch.label != IGNORE_INDEX).sum()


def part_of(blocks: Mapping[Block, Batch], number: int, count: int, ahead: int) -> dict[Block, Batch]:
    """One of several parts of a batch: every n-th image, so that each part has both kinds.

    Args:
        blocks: Images and labels of each block.
        number: Number of the part.
        count: Number of parts.
        ahead: Number of rows in the batch before the labelled ones.
    """
    if count == 1:
        return dict(blocks)

    def first(block: Block) -> int:
        return (number - ahead) % count if shown(block) == LABELLED else number

    return {block: batch.take(slice(first(block), None, count)) for block, batch in blocks.items()}
