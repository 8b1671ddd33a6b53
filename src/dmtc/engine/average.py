"""Averaged weights: the exponential moving average of a network over the steps of a phase."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dmtc.models import SegmentationModel


class AveragedWeights:
    """The average of a network's trained weights and of its batch-norm running statistics.

    Step t moves it toward the network by 1 - min(decay, 1 - 1 / t): it starts as the plain mean of the steps, so the
    weights before the first step do not linger in it, and becomes the exponential moving average. Running statistics
    are averaged the same way, to match the averaged weights. Frozen weights and counters are not averaged.

    Args:
        model: The network, on its device; only `in_place` changes it.
        decay: In (0, 1).

    Source: Polyak and Juditsky 1992; Tarvainen and Valpola 2017 (mean teacher), section 2, for the first steps.
    """

    def __init__(self, model: SegmentationModel, decay: float) -> None:
        self.decay = decay
        self._own = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for module in model.modules():
            if isinstance(module, _NormBase):
                self._own += [each for each in (module.running_mean, module.running_var) if each is not None]
        self._averages = [tensor.detach().clone() for tensor in self._own]

    def update(self, step: int) -> None:
        """Include the weights after a step, without reading anything from the device.

        Args:
            step: Number of the step in the phase, from 1.
        """
        move = get_ema_multi_avg_fn(min(self.decay, 1 - 1 / step))
        move(self._averages, [tensor.detach() for tensor in self._own], None)

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

    def bytes(self) -> int:
        """Memory taken by the averages, in bytes."""
        return sum(average.nbytes for average in self._averages)

    def _swap(self) -> None:
        for number, tensor in enumerate(self._own):
            tensor.data, self._averages[number] = self._averages[number], tensor.data
