"""Which unlabelled images are worth labelling next: where the networks are uncertain or disagree, over all classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor

from dmtc.batches import Loader
from dmtc.core.errors import DataError
from dmtc.engine.components import Components
from dmtc.evaluation import Predictor
from dmtc.evaluation.predictors import most_probable
from dmtc.machine.settings import pick_workers
from dmtc.tracking.progress import Progress


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the networks say about the pixels of some images.

    Attributes:
        label: int64 (B, H, W), the most probable class by the mean of the networks' probabilities.
        entropy: float32 (B, H, W) in [0, 1], entropy of that mean, divided by the logarithm of the number of classes.
        differs: bool (B, H, W), where not all networks predict the same class; None for a single network.
    """

    label: Tensor
    entropy: Tensor
    differs: Tensor | None

    @property
    def pixels(self) -> Tensor:
        """The doubt of each pixel, float32 (B, H, W) in [0, 1]: the mean of `entropy` and `differs`."""
        return self.entropy if self.differs is None else (self.entropy + self.differs) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An unlabelled image.

    Attributes:
        id: Its name.
        entropy: Mean over its pixels, in [0, 1].
        disagreement: Share of its pixels where the networks differ; None for a single network.
        doubt: float64 (C,): by predicted class, the sum of its pixels' doubt, divided by its number of pixels.
    """

    id: str
    entropy: float
    disagreement: float | None
    doubt: np.ndarray


@dataclass(frozen=True, slots=True)
class Pick:
    """An image to label, and how much it adds to those picked before."""

    candidate: Candidate
    gain: float


def doubt_of(predictors: Sequence[Predictor], images: Tensor) -> Doubt:
    """Compare networks on uint8 images (B, 3, H, W)."""
    with torch.inference_mode():
        probabilities = torch.stack([predict(images).float().softmax(dim=1) for predict in predictors])
        mean = probabilities.mean(dim=0)
        entropy = torch.special.entr(mean).sum(dim=1) / log(max(2, mean.shape[1]))
        labels = probabilities.argmax(dim=2)
    return Doubt(most_probable(mean), entropy, (labels != labels[:1]).any(dim=0) if len(predictors) > 1 else None)


def candidates_of(components: Components, predictors: Sequence[Predictor], progress: Progress) -> list[Candidate]:
    """Compare the networks on all unlabelled images of a run. Images that cannot be read are warned about and left out.

    Raises:
        DataError: There are no unlabelled images, or none can be read.
    """
    ids = components.split.unlabelled
    if not ids:
        raise DataError("the run has no unlabelled images: all of its training images are labelled")
    workers = pick_workers(components.run.workers, components.device, components.processes)
    loader = Loader(components.dataset, components.augment, workers, components.device, "skip")
    classes = len(components.dataset.classes)
    found: list[Candidate] = []
    progress.begin("comparing", len(ids), "image")
    try:
        for batch in loader.images(ids, components.run.label_batch, with_mask=False):
            doubt = doubt_of(predictors, batch.image)
            for row, id in enumerate(batch.ids):
                label, pixels = doubt.label[row].flatten(), doubt.pixels[row].flatten().double()
                by_class = torch.bincount(label, weights=pixels, minlength=classes)[:classes] / len(label)
                differs = None if doubt.differs is None else float(doubt.differs[row].float().mean())
                found.append(Candidate(id, float(doubt.entropy[row].mean()), differs, by_class.cpu().numpy()))
            progress.advance(len(batch.ids))
    finally:
        progress.end()
    if not found:
        raise DataError("none of the unlabelled images can be read")
    return sorted(found, key=lambda one: one.id)


def pick(candidates: Sequence[Candidate], count: int) -> list[Pick]:
    """Pick images one after another, each adding the most to the sum over classes of the square root of doubt.

    The doubt of a class is summed over the images picked so far. The square root lets a class count less the more of it
    is picked, so an image with doubt in other classes is preferred to one more of the same.

    Source:
        Greedy maximization of a sum of concave functions of features (Lin and Bilmes 2011, "A class of submodular
        functions for document summarization"), with doubt by class as the features.

    Examples:
        >>> sky, more_sky, bird = [1.0, 0.0], [0.9, 0.0], [0.0, 0.5]
        >>> images = [Candidate(id, 0, None, np.array(d)) for id, d in zip("abc", (sky, more_sky, bird), strict=True)]
        >>> [one.candidate.id for one in pick(images, 2)]
        ['a', 'c']
    """
    doubts = np.array([one.doubt for one in candidates])
    so_far = np.zeros(doubts.shape[1])
    left = list(range(len(candidates)))
    picks: list[Pick] = []
    while left and len(picks) < count:
        gains = (np.sqrt(so_far + doubts[left]) - np.sqrt(so_far)).sum(axis=1)
        best = int(gains.argmax())
        place = left.pop(best)
        so_far += doubts[place]
        picks.append(Pick(candidates[place], float(gains[best])))
    return picks
