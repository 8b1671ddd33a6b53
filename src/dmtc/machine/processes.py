"""The processes of one distributed run, as started by torchrun. With one process, every operation is trivial.

All processes go through the same phases and hold the same network after every step. They split the images of each
batch, of the unlabelled set and of the validation set. Only the first process writes files of the run.
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

# No process computes longer than this between two all-reduces.
_COMPUTING = timedelta(minutes=30)
# A process may wait long for another that trains a network by itself. A dead process is noticed at once.
_WAITING = timedelta(days=7)
_REPORTING = timedelta(seconds=5)


class LostProcess(TrainingError):
    """Another process of the run has ended or cannot be reached."""


class Processes:
    """This process among the processes of a run.

    Args:
        rank: Index of this process, from 0.
        size: Number of processes.
        local_rank: Index among the processes on this machine.
        local_size: Number of processes on this machine.
        store: Key-value store that still works after a process has failed; None for a single process.
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
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[T], block: int = 1) -> list[T]:
        """This process's share of the items: one block of `block` neighbors out of every `size` blocks."""
        starts = range(self.rank * block, len(items), self.size * block)
        return [item for start in starts for item in items[start : start + block]]

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum over all processes, in place and on the tensor's device; bit-identical in every process."""
        if self.size > 1:
            with _reaching_others():
                distributed.all_reduce(tensor)
        return tensor

    def gather_rows(self, tensor: Tensor, start: int = 0) -> Tensor:
        """The rows of all processes, without gradient, in the order that `share` dealt them out from.

        Args:
            tensor: This process's rows.
            start: Place of the first of all these rows in what was dealt out.
        """
        if self.size == 1:
            return tensor
        counts = self.all_gather(len(tensor))
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor.detach()
        parts = [torch.empty_like(padded) for _ in counts]
        with _reaching_others():
            distributed.all_gather(parts, padded)
        ranks = [(start + place) % self.size for place in range(self.size)]
        rows = [parts[rank][row] for row in range(max(counts)) for rank in ranks if row < counts[rank]]
        return torch.stack(rows) if rows else tensor

    def places(self, count: int, start: int = 0) -> range:
        """Which of `count` items `share` deals to this process, if the first is dealt out in place `start`."""
        return range((self.rank - start) % self.size, count, self.size)

    def all_reduce_max(self, *values: int) -> list[int]:
        """Maximum of each value over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values)
        with _reaching_others():
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX, self._patient)
        return tensor.tolist()

    def all_gather(self, value: T) -> list[T]:
        """Collect one small, picklable value from every process, in rank order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _reaching_others():
            distributed.all_gather_object(values, value, self._patient)
        return values

    def broadcast(self, function: Callable[[], T]) -> T:
        """Call a function in the first process while the others wait, and return its result in all of them."""
        if self.size == 1:
            return function()
        value = [function() if self.is_first else None]
        with _reaching_others():
            distributed.broadcast_object_list(value, 0, self._patient)
        return cast(T, value[0])

    def ending(self, code: int) -> tuple[bool, int]:
        """Announce that this process fails; return whether it is the first to fail, and the exit code for all."""
        if self._store is None:
            return True, code
        try:
            first, code_of_all = self._store.compare_set("ending", "", f"{self.rank} {code}").decode().split()
        except RuntimeError:  # the process that hosts the store is gone too
            return True, code
        return int(first) == self.rank, int(code_of_all)

    def wait_until_reported(self, by_this: bool) -> None:
        """After `ending`, wait until the failure is reported: the first process to exit kills the others.

        Args:
            by_this: Whether this process reported the failure; the others wait for it.
        """
        if self._store is not None:
            with suppress(RuntimeError):
                self._store.set("reported", "") if by_this else self._store.wait(["reported"], _REPORTING)


ALONE = Processes()
"""A single process; also used by one of several while it trains a network by itself."""


@cache
def current_processes() -> Processes:
    """The processes of the current run; the first call waits until all of them have started."""
    if not started_together():
        return ALONE
    rendezvous = distributed.rendezvous("env://", timeout=_COMPUTING)  # pyright: ignore[reportPrivateImportUsage]
    store, rank, size = next(iter(rendezvous))
    # NCCL for GPU tensors, Gloo for everything else.
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
            "another process of this run has ended or cannot be reached; nothing that was saved is lost; resume with "
            "resume=RUN_DIR"
        ) from error
