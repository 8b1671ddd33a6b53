"""Contrast with unreliable pixels (U2PL): the negatives of a class come from a memory bank."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.types import IGNORE_INDEX, LossValue, Together
from dmtc.losses.base import full_precision, require
from dmtc.losses.key_bank import KeyBank
from dmtc.losses.sampling import PixelsByClass
from dmtc.losses.selection.entropy_percentile import percentile

_EPSILON = 1e-8
"""Lower bound of the norm that a vector is divided by."""


@dataclass(frozen=True, kw_only=True)
class BankSettings:
    """The numbers of `MemoryBankContrast`.

    Args:
        temperature: Above 0.
        queries: Queries per class, at least 1.
        negatives: Negative keys per query, at least 1.
        min_probability: The teacher's probability of its class that a query exceeds, in [0, 1).
        low_rank: A labelled pixel is a key of another class that the teacher ranks before this, 0 the most probable.
        high_rank: An unlabelled pixel is a key of a class that the teacher ranks from `low_rank` on and before this.
        same_label: Whether an unlabelled key's pseudo-label must be the class that it is a key of.
    """

    temperature: float
    queries: int
    negatives: int
    min_probability: float
    low_rank: int
    high_rank: int
    same_label: bool

    def __post_init__(self) -> None:
        require(self.temperature > 0, self, "temperature", "above 0")
        require(self.queries >= 1, self, "queries", "at least 1")
        require(self.negatives >= 1, self, "negatives", "at least 1")
        require(0 <= self.min_probability < 1, self, "min_probability", "at least 0 and below 1")
        require(self.low_rank >= 0, self, "low_rank", "at least 0")
        require(self.low_rank < self.high_rank, self, "high_rank", "above low_rank")


class MemoryBankContrast(nn.Module):
    """InfoNCE between confident pixels of a class, the mean of the class, and keys that are ruled out of the class.

    For every class with confident pixels, queries are drawn from those whose probability is above `min_probability`;
    the positive key is the mean of the teacher's vectors of the confident pixels; the negatives are drawn from the
    class's bank. The bank gets the teacher's vectors of uncertain pixels: unlabelled ones for which the class is
    improbable, though not the most improbable, and labelled ones of another class for which it is probable anyway.
    All draws are uniform with replacement. Vectors are compared by cosine similarity, divided by the temperature.

    Args:
        settings: See there.
        sizes: The most keys kept, for each class.
        channels: D.

    Source: U2PL (Wang et al., CVPR 2022), section 3.3, with temperature 0.5, 256 queries, 50 negatives, probability
    0.3, ranks 3 and 20, `same_label` true as in its code (its text has no such condition), 30,000 keys and 50,000 for
    class 0. Deviations: a class always meets its own bank, and labelled pixels enter the bank, as in the text; in the
    code, classes after an absent one meet another's, and no labelled pixel ever enters. Other processes' keys come in
    the order of the whole batch.
    """

    def __init__(self, settings: BankSettings, sizes: Sequence[int], channels: int) -> None:
        super().__init__()
        self.settings = settings
        self.bank = KeyBank(sizes, channels)

    def forward(
        self,
        embedding: Tensor,
        teacher_embedding: Tensor,
        probability: Tensor,
        label: Tensor,
        sure: Tensor,
        unsure: Tensor,
        is_pseudo: Tensor,
        generator: torch.Generator | None = None,
        processes: Together | None = None,
    ) -> LossValue:
        """Put the batch's keys into the bank, then compute its loss. Synchronizes with the device three times.

        Args:
            embedding: The student's (B, D, h, w), any floating type; the only input with gradient.
            teacher_embedding: (B, D, h, w), the teacher's of the same images.
            probability: (B, C, h, w), the teacher's.
            label: int64 (B, h, w), label or pseudo-label, or 255 = ignored; see `shrunk`.
            sure: bool (B, h, w), pixels that queries and class means are drawn from; see `by_entropy`.
            unsure: bool (B, h, w), pixels that may be keys.
            is_pseudo: bool (B,), true where the label is a pseudo-label.
            generator: Random generator on the device of the maps; None for torch's default.
            processes: Those with the other rows of the batch: their keys enter the bank too.

        Returns:
            The loss in nats: the mean over the queries of a class, summed over the classes, divided by the number of
            classes with sure pixels. A class without queries or keys adds 0 but counts. 0 with zero gradient if fewer
            than two classes have sure pixels. Logs `keys`, the number in the bank.
        """
        s = self.settings
        with torch.autocast(embedding.device.type, enabled=False):
            student = _rows(full_precision(embedding))
            is_key = self._keys(probability.detach(), label, unsure, is_pseudo)
            vectors = full_precision(teacher_embedding.detach())
            teacher = _rows(vectors)
            if processes is not None:  # all keys, in the order of the whole batch
                vectors, is_key = processes.gather_rows(vectors), processes.gather_rows(is_key.byte()).bool()
            self.bank.add(_rows(vectors), is_key.movedim(1, 0).flatten(1))

            own = probability.detach().gather(1, label.where(label != IGNORE_INDEX, 0)[:, None])[:, 0]
            pixels = PixelsByClass.sort(label.where(sure, IGNORE_INDEX), own > s.min_probability, probability.shape[1])
            counts = self.bank.counts()
            logs = {"keys": counts.sum()}
            number: list[int] = counts.tolist()
            terms = [
                self._info_nce(c, student, teacher, pixels, number[c], generator)
                for c in pixels.present
                if pixels.num_hard(c) and number[c]
            ]
            if len(pixels.present) < 2 or not terms:
                return LossValue((student * 0).sum(), logs)
            return LossValue(torch.stack(terms).sum() / len(pixels.present), logs)

    def _keys(self, probability: Tensor, label: Tensor, unsure: Tensor, is_pseudo: Tensor) -> Tensor:
        """Bool (B, C, h, w), the classes that each pixel is a key of."""
        s = self.settings
        rank = probability.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        classes = torch.arange(probability.shape[1], device=label.device)[:, None, None]
        own = label[:, None] == classes
        unlabelled = (rank >= s.low_rank) & (rank < s.high_rank)
        if s.same_label:
            unlabelled &= own
        chosen = unlabelled.where(is_pseudo[:, None, None, None], ~own & (rank < s.low_rank))
        return chosen & (unsure & (label != IGNORE_INDEX))[:, None]

    def _info_nce(
        self,
        c: int,
        student: Tensor,
        teacher: Tensor,
        pixels: PixelsByClass,
        keys: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        s = self.settings
        # The gradient of `embedding` is summed in a fixed order, unlike that of indexing: results are reproducible.
        query = _unit(F.embedding(pixels.draw_hard(c, s.queries, generator), student))
        members = pixels.order[pixels.bounds[2 * c] : pixels.bounds[2 * c + 2]]
        positive = query @ _unit(teacher[members].mean(0))
        drawn = torch.randint(keys, (s.queries, s.negatives), generator=generator, device=query.device)
        negative = (_unit(self.bank.keys[c][drawn]) @ query.unsqueeze(-1)).squeeze(-1)
        scores = torch.cat([positive[:, None], negative], dim=1) / s.temperature
        return (scores.logsumexp(dim=1) - scores[:, 0]).mean()


def by_entropy(
    entropy: Tensor, label: Tensor, is_pseudo: Tensor, share: float, processes: Together | None = None
) -> tuple[Tensor, Tensor]:
    """Confident and uncertain pixels by the teacher's entropy; in labelled images both include every labelled pixel.

    Args:
        entropy: (B, H, W), in nats.
        label: int64 (B, H, W), 255 = ignored.
        is_pseudo: bool (B,), true where the label is a pseudo-label.
        share: In [0, 1], of the pixels with the lowest entropy, confident, and the highest, uncertain; in U2PL it
            falls from 0.2 to 0 during training.
        processes: Those with the other rows of the batch.

    Returns:
        Two bool (B, H, W), false where ignored. The pixels at a percentile are included, so there is at least one.
    """
    valid, pseudo = label != IGNORE_INDEX, is_pseudo[:, None, None]
    known = entropy.where(valid & pseudo, torch.inf)
    every = known if processes is None else processes.gather_rows(known)
    sure, unsure = entropy <= percentile(every, share), entropy >= percentile(every, 1 - share)
    return valid & (sure | ~pseudo), valid & (unsure | ~pseudo)


def shrunk(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels, or bool, (B, H, W) at the size of a map, by the nearest pixel: (B, h, w) of the same type."""
    return F.interpolate(label.float()[:, None], size=size, mode="nearest")[:, 0].to(label.dtype)


def _rows(maps: Tensor) -> Tensor:
    """(B, D, h, w) as (B h w, D)."""
    return maps.movedim(1, -1).flatten(0, 2)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1, eps=_EPSILON)
