"""A memory of key vectors by class, the newest of each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmtc.core.errors import ConfigError


class KeyBank(nn.Module):
    """The newest key vectors of every class, in buffers, so that they are in checkpoints.

    Args:
        sizes: The most vectors kept, for each class.
        channels: D, the length of a vector. The memory takes 4 C D max(sizes) bytes.

    Attributes:
        keys: float32 (C, max(sizes), D); a class's vectors are written in a circle.
        total: int64 (C), the number of vectors a class has got so far.

    Raises:
        ConfigError: A size is below 1, or there are no channels.

    Examples:
        >>> bank = KeyBank(sizes=[2, 2], channels=1)
        >>> vectors = torch.tensor([[1.0], [2.0], [3.0]])
        >>> bank.add(vectors, torch.tensor([[True, True, True], [False, True, False]]))
        >>> bank.vectors(0).flatten(), bank.vectors(1).flatten()
        (tensor([2., 3.]), tensor([2.]))
    """

    keys: Tensor
    total: Tensor
    _size: Tensor

    def __init__(self, sizes: Sequence[int], channels: int) -> None:
        super().__init__()
        if channels < 1 or not sizes or min(sizes) < 1:
            raise ConfigError(f"a bank needs room for a vector of every class, but got sizes {list(sizes)}, {channels}")
        self.register_buffer("keys", torch.zeros(len(sizes), max(sizes), channels))
        self.register_buffer("total", torch.zeros(len(sizes), dtype=torch.long))
        self.register_buffer("_size", torch.tensor(list(sizes)), persistent=False)

    @torch.no_grad()
    def add(self, vectors: Tensor, of_class: Tensor) -> None:
        """Append vectors to the classes they are keys of. Synchronizes once with the device, to count them.

        Args:
            vectors: (N, D).
            of_class: bool (C, N), true where a vector is a key of a class; a vector may be one of several.
        """
        c, row = of_class.nonzero(as_tuple=True)
        count = of_class.sum(1)
        place = torch.arange(len(c), device=c.device) - (count.cumsum(0) - count)[c]  # among its class's new ones
        # Of more vectors than there is room for, only the last are written, so that no slot is written twice.
        last = place >= (count - self._size)[c]
        c, row, place = c[last], row[last], place[last]
        self.keys[c, (self.total[c] + place) % self._size[c]] = vectors[row].float()
        self.total += count

    def counts(self) -> Tensor:
        """The number of vectors of each class: int64 (C)."""
        return self.total.minimum(self._size)

    def vectors(self, c: int) -> Tensor:
        """The vectors of class c, the oldest first: (n, D)."""
        total, size = int(self.total[c]), int(self._size[c])
        kept = min(total, size)
        return self.keys[c, torch.arange(total - kept, total, device=self.keys.device) % size]

    def load(self, c: int, vectors: Tensor) -> None:
        """Replace the vectors of class c by others, the oldest first: (n, D)."""
        self.total[c] = 0
        chosen = torch.zeros(len(self.total), len(vectors), dtype=torch.bool, device=vectors.device)
        chosen[c] = True
        self.add(vectors, chosen)
