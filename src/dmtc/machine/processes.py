"""The processes that carry out one run together, as torchrun starts them. Usually there is one, and all is trivial.

All of them go through the same phases and hold the same network at the end of every step. They share out the images of
a batch, of the unlabelled set and of the validation set; the first one alone writes what belongs to the run.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributed import PrefixStore, ProcessGroup, Store  # pyright: ignore[reportPrivateImportUsage]

from dmtc.core.errors import TrainingError
from dmtc.machine.torchrun import started_together

T = TypeVar("T")

# Nobody computes for longer between two sums of a step or a pass.
_COMPUTING = timedelta(minutes=30)
# But a process may wait long for another one that trains a network by itself. One that dies is noticed at once.
_WAITING = timedelta(days=7)
_TELLING = timedelta(seconds=5)


class LostProcess(TrainingError):
    """Another process of the run has ended, or cannot be reached."""


class Processes:
    """This process among those of a run.

    Args:
        rank: Its number, from 0.
        size: How many there are.
        local_rank: Its number among those of this machine.
        local_size: How many there are on this machine.
        store: What they all can ask, even when one of them has failed; None if there is one process.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        local_rank: int = 0,
        local_size: int = 1,
        store: Store | None = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size
        self._store = store
        self._patient: ProcessGroup | None = None
        if size > 1:
            self._patient = cast(ProcessGroup, distributed.new_group(backend="gloo", timeout=_WAITING))

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def share(self, items: Sequence[T], block: int = 1) -> list[T]:
        """This process's part of what all of them do: every so-many-th block of neighbors."""
        starts = range(self.rank * block, len(items), self.size * block)
        return [item for start in starts for item in items[start : start + block]]

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place and on the tensor's device; the same to the last bit in all of them."""
        if self.size > 1:
            with _reaching_others():
                distributed.all_reduce(tensor)
        return tensor

    def all_reduce_max(self, *values: int) -> list[int]:
        """The highest of each value over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values)
        with _reaching_others():
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX, self._patient)
        return tensor.tolist()

    def all_gather(self, value: T) -> list[T]:
        """The value of every process, in their order; small, and ready for pickle."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _reaching_others():
            distributed.all_gather_object(values, value, self._patient)
        return values

    def broadcast(self, function: Callable[[], T]) -> T:
        """Let the first process call a function while the others wait, and give its result to all of them."""
        if self.size == 1:
            return function()
        value = [function() if self.is_first else None]
        with _reaching_others():
            distributed.broadcast_object_list(value, 0, self._patient)
        return cast(T, value[0])

    def ending(self, code: int) -> tuple[bool, int]:
        """Say that this process fails: whether it is the first that does, and with which code all of them exit."""
        if self._store is None:
            return True, code
        try:
            first, code_of_all = self._store.compare_set("ending", "", f"{self.rank} {code}").decode().split()
        except RuntimeError:  # whoever kept the store is gone too
            return True, code
        return int(first) == self.rank, int(code_of_all)

    def wait_until_reported(self, by_this: bool) -> None:
        """After `ending`: whoever exits first ends the others, so the one that tells of the failure must be done."""
        if self._store is not None:
            with suppress(RuntimeError):
                self._store.set("told", "") if by_this else self._store.wait(["told"], _TELLING)


ALONE = Processes()
"""One process that asks nobody; also one of several while it trains a network by itself."""


@cache
def current_processes() -> Processes:
    """The processes of the run that this one belongs to; the first call waits for all of them."""
    if not started_together():
        return ALONE
    rendezvous = distributed.rendezvous("env://", timeout=_COMPUTING)  # pyright: ignore[reportPrivateImportUsage]
    store, rank, size = next(iter(rendezvous))
    # What lies on a GPU is summed by NCCL, everything else by Gloo.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(
        backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=_COMPUTING
    )
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return Processes(rank, size, local_rank, local_size, PrefixStore("run", store))


@contextmanager
def _reaching_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(
            "another process of this run has ended or cannot be reached; nothing that was saved is lost, go on with "
            "resume=RUN_DIR"
        ) from error
