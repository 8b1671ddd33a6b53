"""Earlier states of a network in training, kept to label its images."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from torch import Tensor

from dmtc.engine.average import trained
from dmtc.models import SegmentationModel
from dmtc.pseudo.snapshots import SnapshotDraw, Snapshots


class StudentSnapshots:
    """The newest of the states that a network had at fixed steps.

    Args:
        model: The network, on its device; only `in_place` changes it.
        rule: Which states are kept, and which of them label a step.
    """

    def __init__(self, model: SegmentationModel, rule: Snapshots) -> None:
        self._network = trained(model)
        self._rule = rule
        self._states: dict[int, list[Tensor]] = {}

    def update(self, done: int) -> None:
        """Keep the state after so many steps, if it is due."""
        if self._rule.due(done):
            self._states[done] = [tensor.detach().clone() for tensor in self._network]
            self._states = {step: self._states[step] for step in self._rule.kept(done)}

    def draw(self, done: int, rng: np.random.Generator) -> SnapshotDraw | None:
        """The snapshots that label the next step; None before any."""
        return self._rule.draw(done, rng) if self._states else None

    @contextmanager
    def in_place(self, step: int) -> Iterator[None]:
        """Swap the state after a step into the network for the duration of the context; nothing is copied."""
        self._swap(step)
        try:
            yield
        finally:
            self._swap(step)

    def state(self) -> dict[int, list[Tensor]]:
        """The states by the step after which they were taken, for a checkpoint."""
        return self._states

    def restore(self, state: Mapping[int, list[Tensor]]) -> None:
        """Restore what `state` returned."""
        self._states = {
            step: [tensor.to(own.device) for own, tensor in zip(self._network, tensors, strict=True)]
            for step, tensors in state.items()
        }

    def bytes(self) -> int:
        """Memory that the snapshots take when all are there, in bytes."""
        return self._rule.most * sum(tensor.nbytes for tensor in self._network)

    def _swap(self, step: int) -> None:
        state = self._states[step]
        for number, tensor in enumerate(self._network):
            tensor.data, state[number] = state[number], tensor.data
