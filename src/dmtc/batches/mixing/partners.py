"""Which image another one receives pixels from."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from dmtc.batches.mixing.base import ExtraRows, Mixer
from dmtc.core.types import Batch

Order = Literal["reversed", "next", "permutation"]
Partner = Literal["reversed", "next", "permutation", "same_image", "other_batch"]


def partner_rows(rule: Order, count: int, rng: np.random.Generator) -> list[int]:
    """The partner of each row of a batch; no row is its own, unless it is the only one.

    Args:
        rule: `reversed`: the first row receives from the last one and so on; the middle row of an odd batch receives
            from the next one. `next`: each receives from the next one, the last from the first. `permutation`: as
            `next`, after the rows were shuffled.
        count: Number of rows.
        rng: Only `permutation` draws.

    Examples:
        >>> partner_rows("reversed", 5, np.random.default_rng(0))
        [4, 3, 3, 1, 0]
    """
    rows = np.arange(count)
    if rule == "reversed":
        partners = rows[::-1].copy()
        alone = partners == rows
        partners[alone] = (rows[alone] + 1) % count
        return partners.tolist()
    order = rng.permutation(count) if rule == "permutation" else rows
    partners = np.empty_like(rows)
    partners[order] = np.roll(order, -1)
    return partners.tolist()


@dataclass(frozen=True, kw_only=True)
class Pasting(Mixer):
    """A mixer that pastes a part of one partner into each image.

    Attributes:
        partner: `same_image`: another crop of the same image; `other_batch`: the row at the same place of another
            batch; otherwise a row of the same batch, see `partner_rows`. An image that is alone in its batch is left as
            it is.
    """

    partner: Partner

    @property
    def extra_rows(self) -> ExtraRows | None:
        """The rows that the option `partner` asks for."""
        return self.partner if self.partner in ("same_image", "other_batch") else None

    @abstractmethod
    def mask(self, own: Batch, rng: np.random.Generator) -> Tensor:
        """The pixels that the partner gives: bool (B, H, W), on the device of the images."""

    def mix(self, own: Batch, extra: Batch | None, labelled: Batch | None, rng: np.random.Generator) -> Batch:
        """Paste the masked pixels of the partner of each row."""
        if self.partner == "same_image" or self.partner == "other_batch":
            if extra is None or len(extra.ids) != len(own.ids):
                raise ValueError(f"partner={self.partner} needs as many further rows as the batch has")
            return own.pasted(self.mask(own, rng), extra)
        if len(own.ids) < 2:
            return own
        others = own.ordered(partner_rows(self.partner, len(own.ids), rng))
        return own.pasted(self.mask(own, rng), others)
