"""Averaged weights: the exponential moving average of a network over the steps of a phase."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dmtc.models import SegmentationModel


class AveragedWeights:
    """The average of a network's trained weights and of its batch-norm running statistics.

    Step t moves it toward the network by 1 - min(decay, 1 - 1 / t): it starts as the plain mean of the steps, so the
    weights before the first step do not linger in it, and becomes the exponential moving average. Running statistics
    are averaged the same way, to match the averaged weights. Frozen weights and counters are not averaged but are those
    of the network.

    Args:
        model: The network, on its device; only `in_place` changes it.
        decay: In (0, 1).
        copy_steps: Number of first steps that copy the network.
        warmup: Whether the decay of step t is at most 1 - 1 / t.
        buffers: "average" averages running statistics; "own" keeps the average's own, which change only in passes in
            training mode while it is in place.

    Source: Polyak and Juditsky 1992; Tarvainen and Valpola 2017 (mean teacher), section 2, for the first steps.
    Deviation: integer buffers are the network's; UniMatch V2 averages them, which lets them fall by one a step.
    """

    def __init__(
        self,
        model: SegmentationModel,
        decay: float,
        copy_steps: int = 0,
        warmup: bool = True,
        buffers: Literal["average", "own"] = "average",
    ) -> None:
        self.decay = decay
        self._copy_steps, self._warmup = copy_steps, warmup
        self._network = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._followed = len(self._network)
        for module in model.modules():
            if isinstance(module, _NormBase):
                self._network += _statistics_of(module)
                if buffers == "own" and module.num_batches_tracked is not None:
                    self._network.append(module.num_batches_tracked)
        if buffers == "average":
            self._followed = len(self._network)
        self._averages = [tensor.detach().clone() for tensor in self._network]

    def update(self, step: int) -> None:
        """Include the weights after a step, without reading anything from the device.

        Args:
            step: Number of the step in the phase, from 1.
        """
        decay = min(self.decay, 1 - 1 / step) if self._warmup else self.decay
        move = get_ema_multi_avg_fn(0.0 if step <= self._copy_steps else decay)
        move(self._averages[: self._followed], [tensor.detach() for tensor in self._network[: self._followed]], None)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Swap the averages into the network for the duration of the context; nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> list[Tensor]:
        """The averages, for a checkpoint."""
        return self._averages

    @torch.no_grad()
    def restore(self, state: list[Tensor]) -> None:
        """Restore what `state` returned."""
        for average, before in zip(self._averages, state, strict=True):
            average.copy_(before)

    def statistics(self) -> list[Tensor]:
        """The running statistics of the average itself, if it has its own."""
        return self._averages[self._followed :]

    def bytes(self) -> int:
        """Memory taken by the averages, in bytes."""
        return sum(average.nbytes for average in self._averages)

    def _swap(self) -> None:
        for number, tensor in enumerate(self._network):
            tensor.data, self._averages[number] = self._averages[number], tensor.data


def trained(model: SegmentationModel) -> list[Tensor]:
    """What training changes of a network: its weights but for frozen ones, and its running statistics."""
    norms = [module for module in model.modules() if isinstance(module, _NormBase)]
    weights: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return weights + [statistic for norm in norms for statistic in _statistics_of(norm)]


def _statistics_of(norm: _NormBase) -> list[Tensor]:
    return [each for each in (norm.running_mean, norm.running_var) if each is not None]
