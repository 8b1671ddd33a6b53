"""The labels of an image in the light of the whole image: which classes it holds, beside how common they are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.core.class_counts import ClassCounts

OCCASIONAL = 0.9
"""A class is occasional if fewer than this share of the labelled images hold it."""

SMOOTHING = 0.02
"""Added to every share, so that a class that is rare among the labelled images gains at most fiftyfold."""


@dataclass(frozen=True, slots=True)
class ImageContext:
    """Moves probability among occasional classes, towards those of which the image holds more than is usual.

    A network that learns from few labelled images confuses alike classes within one object: half a cow is a horse. The
    mean probabilities of the image tell which of the two it holds, and a class that is common everywhere needs more
    evidence than a rare one. Classes that nearly every image holds, such as background or road, tell nothing of this
    kind and keep their probability.

    With the mean probability m_c of an occasional class c over the image, its share r_c of the labelled pixels, both
    divided by their sum over the occasional classes, and the strength s, the probability p_c of each pixel becomes

        p_c w_c sum(p) / sum(p w)    with    w_c = ((m_c + 0.02) / (r_c + 0.02))^s,

    and sums over the occasional classes.

    Attributes:
        occasional: Indices of the occasional classes, int64 (K,).
        shares: Their shares of the labelled pixels, summing to 1, float (K,).
        strength: s, at least 0; 0 changes nothing, 1 takes the image at its word.

    Source: ours. For s = 1, all classes and no smoothing, it is the first step of Saerens, Latinne and Decaestecker
    2002 ("Adjusting the outputs of a classifier to new a priori probabilities"), with an image in place of a data set.

    Examples:
        An image of mostly class 1, which is rare: its doubtful pixel becomes one of class 1, too.

        >>> import torch
        >>> probabilities = torch.tensor([[[[0.6, 0.1, 0.1]], [[0.4, 0.9, 0.9]]]])
        >>> context = ImageContext(torch.tensor([0, 1]), torch.tensor([0.9, 0.1]), strength=1.0)
        >>> context(probabilities.log(), torch.ones(1, 1, 3, dtype=torch.bool)).exp()[0, :, 0, 0]
        tensor([0.0693, 0.9307])
    """

    occasional: Tensor
    shares: Tensor
    strength: float

    @classmethod
    def of_labelled(cls, counts: ClassCounts, strength: float) -> "ImageContext":
        """From what the masks of the labelled images hold."""
        few = [index for index, images in enumerate(counts.images) if 0 < images < OCCASIONAL * counts.masks]
        pixels = torch.tensor([counts.pixels[index] for index in few], dtype=torch.float64)
        return cls(torch.tensor(few, dtype=torch.int64), (pixels / pixels.sum()).float(), strength)

    @torch.no_grad()
    def __call__(self, logits: Tensor, valid: Tensor) -> Tensor:
        """The logarithms of the new probabilities.

        Args:
            logits: Logits, or logarithms of probabilities, float (B, C, H, W).
            valid: Which pixels are of the image and not of its padding, bool (B, H, W). An image without any stays as
                it is.

        Returns:
            Float32 (B, C, H, W).
        """
        log = logits.float().log_softmax(dim=1)
        if len(self.occasional) < 2:
            return log
        occasional = self.occasional.to(log.device)
        own = log[:, occasional]
        mean = (own.exp() * valid.unsqueeze(1)).sum(dim=(2, 3))
        mean = mean / mean.sum(dim=1, keepdim=True).clamp(min=torch.finfo(mean.dtype).tiny)
        shift = self.strength * ((mean + SMOOTHING) / (self.shares.to(log.device) + SMOOTHING)).log()
        shift = shift.where(valid.any(dim=(1, 2)).unsqueeze(1), 0)
        moved = own + shift[:, :, None, None]
        moved += own.logsumexp(dim=1, keepdim=True) - moved.logsumexp(dim=1, keepdim=True)
        return log.index_copy(1, occasional, moved)
