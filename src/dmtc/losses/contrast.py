"""Regional contrast (ReCo): pulls pixels of a class to the class mean and pushes them from pixels of other classes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue
from dmtc.losses.base import LOSSES, full_precision, require, upsample
from dmtc.losses.bilinear import FullSizeView
from dmtc.losses.sampling import PixelsByClass

_EPSILON = 1e-8
"""Lower bound of the norm that a vector is divided by."""


@LOSSES.register("regional_contrast")
@dataclass(frozen=True, kw_only=True)
class RegionalContrast:
    """InfoNCE between hard pixels of a class (queries), the mean of the class (positive) and pixels of other classes.

    For every class, queries are sampled from the hard pixels: those whose probability of their own class is below the
    strong threshold. The positive key is the mean vector of all pixels of the class. A negative key is sampled in two
    steps: first another class, by a softmax over the cosine similarities between class means, divided by the
    temperature; then a pixel of that class. Pixels are sampled uniformly with replacement. Queries are compared with
    keys by cosine similarity, divided by the temperature.

    Args:
        temperature: Above 0.
        queries: Queries per class, at least 1.
        negatives: Negative keys per query, at least 1.
        strong_threshold: Above 0; a pixel at least as probable counts as learned and is not a query.
        min_confidence: In [0, 1]; a pixel whose label's confidence is lower is treated as ignored. 0 keeps all.

    Source: ReCo (Liu et al., "Bootstrapping semantic segmentation with regional contrast", ICLR 2022), section 3; ReCo
    sets `min_confidence` to 0.7, DMTC to 0: every pixel with a label is a key, whatever its confidence. Deviations: an
    ignored pixel is neither key nor query; DMTC's code treats it as class 0. The maps are never upsampled as a whole;
    the result is the same.

    Examples:
        Two classes of one pixel each with orthogonal features:

        >>> import torch
        >>> from dmtc.losses import RegionalContrast
        >>> embedding = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> logits, label = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
        >>> loss = RegionalContrast(
        ...     temperature=0.5, queries=4, negatives=8, strong_threshold=0.97, min_confidence=0.0
        ... )
        >>> value = loss(embedding, logits, label)
        >>> round(value.loss.item(), 4), value.logs["hard"].item()
        (0.7337, 1.0)
    """

    temperature: float
    queries: int
    negatives: int
    strong_threshold: float
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        require(self.temperature > 0, self, "temperature", "above 0")
        require(self.queries >= 1, self, "queries", "at least 1")
        require(self.negatives >= 1, self, "negatives", "at least 1")
        require(self.strong_threshold > 0, self, "strong_threshold", "above 0")
        require(0 <= self.min_confidence <= 1, self, "min_confidence", "in [0, 1]")

    def __call__(
        self,
        embedding: Tensor,
        logits: Tensor,
        label: Tensor,
        generator: torch.Generator | None = None,
        confidence: Tensor | None = None,
    ) -> LossValue:
        """Compute the loss of a batch. Synchronizes once with the device, to see which classes are present.

        Args:
            embedding: (B, D, h, w), any floating type; the only input with gradient, and only through the queries.
            logits: (B, C, h, w) of the same network, any floating type.
            label: int64 (B, H, W), class index or 255 = ignored.
            generator: Random generator on the device of the maps; None for torch's default.
            confidence: (B, H, W) in [0, 1], the probability of the label, 1 for human labels; None for 1 everywhere.

        Returns:
            The loss in nats: the mean over the queries of a class, summed over classes, divided by the number of
            classes present. A class without hard pixels adds 0 but counts. 0 with zero gradient if fewer than two
            classes are present. Logs `hard`, the share in [0, 1] of hard pixels among the pixels not ignored.
        """
        if self.min_confidence > 0 and confidence is not None:
            label = label.where(confidence >= self.min_confidence, IGNORE_INDEX)
        hard = self._hard(logits, label)
        logs = {"hard": hard.sum() / (label != IGNORE_INDEX).sum().clamp(min=1)}
        pixels = PixelsByClass.sort(label, hard, num_classes=logits.shape[1])
        query_rows = [row for row, c in enumerate(pixels.present) if pixels.num_hard(c)]
        if len(pixels.present) < 2 or not query_rows:
            return LossValue((full_precision(embedding) * 0).sum(), logs)

        with torch.autocast(embedding.device.type, enabled=False):
            view = FullSizeView(full_precision(embedding), (label.shape[-2], label.shape[-1]))
            means = _unit(torch.stack([view.mean(label == c) for c in pixels.present]))
            chances = (means @ means.T / self.temperature).fill_diagonal_(-torch.inf).softmax(dim=1)

            def info_nce(row: int, query: Tensor) -> Tensor:
                draw = partial(pixels.draw, chances[row], generator=generator)
                positive = (query @ means[row]).unsqueeze(1)
                scores = torch.cat([positive, self._negative_scores(view, query, draw)], dim=1) / self.temperature
                return (scores.logsumexp(dim=1) - scores[:, 0]).mean()

            chosen = [pixels.draw_hard(pixels.present[row], self.queries, generator) for row in query_rows]
            queries = _unit(view.vectors(torch.stack(chosen)))
            # Class by class, as the products of all queries with all cells would not fit in memory.
            terms = [_differentiated(partial(info_nce, row), q) for row, q in zip(query_rows, queries, strict=True)]
            return LossValue(torch.stack(terms).sum() / len(pixels.present), logs)

    def _negative_scores(self, view: FullSizeView, query: Tensor, draw: Callable[[tuple[int, int]], Tensor]) -> Tensor:
        """Cosines (Q, negatives) of the unit queries (Q, D) of one class with negative keys, drawn for each query."""
        return view.cosines(query, draw((self.queries, self.negatives)))

    @torch.no_grad()
    def _hard(self, logits: Tensor, label: Tensor) -> Tensor:
        """Bool (B, H, W), where the probability of the label is below the strong threshold."""

        def minus_log_probability(logits: Tensor, label: Tensor) -> Tensor:
            full = upsample(logits, (label.shape[-2], label.shape[-1]))
            return F.cross_entropy(full, label, ignore_index=IGNORE_INDEX, reduction="none")

        # One image at a time, as the full-size probabilities of all classes are large.
        images = zip(logits.split(1), label.split(1), strict=True)
        probability = torch.cat([minus_log_probability(*image) for image in images]).neg().exp()
        return (probability < self.strong_threshold) & (label != IGNORE_INDEX)


@LOSSES.register("shared_contrast")
@dataclass(frozen=True, kw_only=True)
class SharedContrast(RegionalContrast):
    """Regional contrast in which all queries of a class share one sample of negative keys.

    The expected loss and gradient are those of `RegionalContrast`: each query still meets `negatives` keys of the same
    distribution. Only draws of different queries are no longer independent, so both vary more from step to step. It
    takes far less time, as no query is compared with every cell of the map.

    Source: none; a change of ReCo's sampling, measured in docs/benchmarks.md.

    Examples:
        The case of `RegionalContrast`, whose keys are all alike:

        >>> import torch
        >>> from dmtc.losses import SharedContrast
        >>> embedding = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> logits, label = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
        >>> loss = SharedContrast(temperature=0.5, queries=4, negatives=8, strong_threshold=0.97)
        >>> round(loss(embedding, logits, label).loss.item(), 4)
        0.7337
    """

    def _negative_scores(self, view: FullSizeView, query: Tensor, draw: Callable[[tuple[int, int]], Tensor]) -> Tensor:
        with torch.no_grad():
            keys = _unit(view.vectors(draw((1, self.negatives))[0]))
        return query @ keys.T


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1, eps=_EPSILON)


def _differentiated(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """`function(point)` with its gradient computed right away, so that no activations are kept for the backward."""
    if not point.requires_grad:
        return function(point)
    leaf = point.detach().requires_grad_()
    value = function(leaf)
    (slope,) = torch.autograd.grad(value, leaf)
    return value.detach() + ((point - point.detach()) * slope).sum()
