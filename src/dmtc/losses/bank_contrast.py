"""U2PL's contrast as a term: the teacher's entropy says which pixels are sure, and the bank fits the network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dmtc.core.types import LossValue, Maps, Together
from dmtc.losses.base import LOSSES, require, upsample
from dmtc.losses.memory_bank import BankSettings, MemoryBankContrast, by_entropy, shrunk
from dmtc.losses.selection.base import between


@LOSSES.register("memory_bank_contrast")
class BankContrast(nn.Module):
    """Contrast between confident pixels and keys that are ruled out of their class; see `MemoryBankContrast`.

    Args:
        temperature: See `BankSettings`, as for the next six.
        queries: Queries per class.
        negatives: Negative keys per query.
        min_probability: The teacher's probability of its class that a query exceeds.
        low_rank: First rank of the classes that an unlabelled pixel is a key of, 0 the most probable.
        high_rank: The rank behind the last one.
        same_label: Whether an unlabelled key's pseudo-label must be the class that it is a key of.
        start_share: Percentage of the unlabelled pixels that count as confident, and that count as uncertain, at the
            start of the phase, in [0, 100].
        end_share: The same at its end; linear in between.
        bank_size: The most keys kept of each class but the first.
        bank_size_of_first: The same of class 0, usually the background.

    In YAML:

        name: memory_bank_contrast
        temperature: 0.5
        queries: 256
        negatives: 50
        min_probability: 0.3
        low_rank: 3
        high_rank: 20
        same_label: true
        start_share: 20.0
        end_share: 0.0
        bank_size: 30000
        bank_size_of_first: 50000

    Source: see `MemoryBankContrast`. Deviations: there, and the teacher sees the mixed images in its own mode, in
    evaluation by default, while its code runs this pass in training mode; the percentages fall with every step instead
    of every epoch.
    """

    def __init__(
        self,
        *,
        temperature: float,
        queries: int,
        negatives: int,
        min_probability: float,
        low_rank: int,
        high_rank: int,
        same_label: bool,
        start_share: float,
        end_share: float,
        bank_size: int,
        bank_size_of_first: int,
    ) -> None:
        super().__init__()
        self.settings = BankSettings(
            temperature=temperature,
            queries=queries,
            negatives=negatives,
            min_probability=min_probability,
            low_rank=low_rank,
            high_rank=high_rank,
            same_label=same_label,
        )
        self.start_share, self.end_share = start_share, end_share
        self.bank_size, self.bank_size_of_first = bank_size, bank_size_of_first
        for name in ("start_share", "end_share"):
            require(0 <= getattr(self, name) <= 100, self, name, "in [0, 100]")
        for name in ("bank_size", "bank_size_of_first"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        self.contrast: MemoryBankContrast | None = None

    def forward(
        self,
        logits: Tensor,
        embedding: Tensor,
        label: Tensor,
        is_pseudo: Tensor,
        generator: torch.Generator,
        teacher_maps: Maps | None = None,
        progress: float = 0.0,
        processes: Together | None = None,
    ) -> LossValue:
        """Put the batch's keys into the bank, then compute its loss.

        Args:
            logits: (B, C, h, w), read only for the number of classes.
            embedding: The student's (B, D, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W), label or pseudo-label, or 255 = ignored.
            is_pseudo: bool (B,), true where the label is a pseudo-label.
            generator: Random generator on the device of the maps.
            teacher_maps: The teacher's logits and embedding of the same images, of the student's sizes; None if nobody
                labels within the step.
            progress: The done share of the phase, in [0, 1).
            processes: Those with the other rows of the batch.

        Returns:
            See `MemoryBankContrast`; 0 with zero gradient without a teacher.
        """
        if teacher_maps is None or teacher_maps.embedding is None:
            return LossValue((embedding * 0).sum())
        contrast = self._fitted(logits.shape[1], embedding.shape[1], embedding.device)
        theirs = teacher_maps.logits.detach()
        log = upsample(theirs, (label.shape[-2], label.shape[-1])).log_softmax(dim=1)
        share = between(self.start_share, self.end_share, progress) / 100
        entropy = torch.special.entr(log.exp()).sum(dim=1)
        sure, unsure = by_entropy(entropy, label, is_pseudo, share, processes)
        size = (embedding.shape[-2], embedding.shape[-1])
        return contrast(
            embedding,
            teacher_maps.embedding,
            upsample(theirs, size).softmax(dim=1),
            shrunk(label, size),
            shrunk(sure, size),
            shrunk(unsure, size),
            is_pseudo,
            generator,
            processes,
        )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore the bank, which is as large as it was then."""
        keys = state_dict.get("contrast.bank.keys")
        if keys is not None and self.contrast is None:
            self._fitted(keys.shape[0], keys.shape[2], keys.device)
        return super().load_state_dict(state_dict, strict, assign)

    def _fitted(self, classes: int, channels: int, device: torch.device) -> MemoryBankContrast:
        """The contrast with a bank for a network, made when it is first needed."""
        if self.contrast is None:
            sizes = [self.bank_size_of_first, *[self.bank_size] * (classes - 1)]
            self.contrast = MemoryBankContrast(self.settings, sizes, channels)
        return self.contrast.to(device)
