"""Several processes that take a step together, played by threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import torch
from torch import Tensor


class Player:
    """One of the processes; the rows of a batch are dealt out in turn."""

    def __init__(self, rank: int, size: int, table: list[Tensor | None], barrier: Barrier) -> None:
        self.rank, self.size = rank, size
        self._table, self._barrier = table, barrier

    def _all(self, tensor: Tensor) -> list[Tensor]:
        self._table[self.rank] = tensor.detach().clone()
        self._barrier.wait(20)
        found = [each for each in self._table if each is not None]
        self._barrier.wait(20)
        return found

    def all_reduce(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(torch.stack(self._all(tensor)).sum(0))

    def gather_rows(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._all(tensor), dim=1).flatten(0, 1)


def together(size: int, step: Callable[[Player], Any]) -> list[Any]:
    """What `step` returns in each of the processes."""
    table: list[Tensor | None] = [None] * size
    barrier = Barrier(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: step(Player(rank, size, table, barrier)), range(size)))
