"""Predicting arrays: from RGB images to classes, confidences and probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dmtc.core.types import Float32Array, UInt8Array
from dmtc.data.task import Task
from dmtc.evaluation import Evaluation, Predictor, shown_at
from dmtc.evaluation import ensemble as mean_of
from dmtc.evaluation.predictors import most_probable
from dmtc.evaluation.protocols import Original
from dmtc.evaluation.sliding import Sliding
from dmtc.prediction.inputs import AnImage, Images, as_rgb, sorted_out

T = TypeVar("T")

WINDOW_STRIDE = 2 / 3
"""Stride of windows as a share of the window, as in `conf/evaluation/sliding.yaml`."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction for an image.

    Attributes:
        label: uint8 (H, W), the most probable class of each pixel.
        confidence: float32 (H, W) in [0, 1], its probability.
        probabilities: float32 (C, H, W) in [0, 1], summing to 1 over classes; (0, H, W) if not requested.
    """

    label: UInt8Array
    confidence: Float32Array
    probabilities: Float32Array


class PredictsArrays(ABC):
    """Prediction with several networks, each named by a letter."""

    @property
    @abstractmethod
    def networks(self) -> Sequence[str]:
        """Letters of the networks."""

    @property
    @abstractmethod
    def task(self) -> Task:
        """Classes, colors, and how image files are read."""

    @abstractmethod
    def model(self, network: str = "a") -> nn.Module:
        """A network in evaluation mode: uint8 (B, 3, H, W) or float in [0, 1] -> logits (B, C, H, W).

        Args:
            network: Its letter.

        Raises:
            ConfigError: There is no such network.
        """

    def predict(
        self,
        images: Images,
        ensemble: str | None = None,
        *,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        window: tuple[int, int] | None = None,
    ) -> UInt8Array | list[UInt8Array]:
        """Predict the class of every pixel.

        Args:
            images: One image: the path of a file, a PIL image, or an RGB or gray array or tensor, (H, W, 3), (3, H, W)
                or (H, W), as uint8 or as float in [0, 1]. Or a batch, (N, H, W, 3) or (N, 3, H, W), or a list of
                images of any sizes. Files are read and resized as in training, like `job=predict` does.
            ensemble: Letters of the networks whose probabilities are averaged; by default all.
            flip: Average probabilities with those of the mirror image.
            scales: Average probabilities over the image resized by these factors.
            window: Height and width of overlapping windows over the image; None predicts the whole image at once.

        Returns:
            uint8 (H, W) for one image, (N, H, W) for a batch, a list for a list.

        Raises:
            ConfigError: There is no such network, or an option is out of range.
            DataError: A file cannot be read; or a shape, type or value is none of an image.
            WeightsError: Weights are missing because the run stopped early.
        """

        def label(logits: Tensor) -> UInt8Array:
            return most_probable(logits)[0].to(torch.uint8).cpu().numpy()

        masks = self._each(images, label, ensemble, views_evaluation(flip, scales, window))
        return np.stack(masks) if isinstance(masks, list) and masks and not isinstance(images, list | tuple) else masks

    def prediction(
        self,
        images: Images,
        ensemble: str | None = None,
        *,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        window: tuple[int, int] | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict classes, confidences and probabilities of all classes; arguments as in `predict`.

        Returns:
            One `Prediction` (`.label`, `.confidence`, `.probabilities`) for one image, a list for several.
        """
        return self._each(images, lambda logits: read_off(logits)[0], ensemble, views_evaluation(flip, scales, window))

    def _each(
        self,
        images: Images,
        read: Callable[[Tensor], T],
        letters: str | None,
        evaluation: Evaluation,
    ) -> T | list[T]:
        models = [self.model(network) for network in (letters or self.networks)]
        predict, device = mean_of([evaluation.of_pictures(model) for model in models]), device_of(models[0])

        of_file = resizing(predict, 1 / self.task.reduction)
        given = sorted_out(images)

        def one(image: AnImage) -> T:
            batch = torch.from_numpy(as_rgb(image, self.task.reader)).permute(2, 0, 1)[None].to(device)
            with torch.inference_mode():
                return read((of_file if isinstance(image, str | Path) else predict)(batch))

        return one(given.images[0]) if given.form == "one" else [one(image) for image in given.images]


def resizing(predict: Predictor, factor: float) -> Predictor:
    """A predictor that is shown images resized by a factor; its logits have the size of the image."""
    if factor == 1:
        return predict
    return shown_at(predict, lambda height, width: (max(1, round(factor * height)), max(1, round(factor * width))))


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's weights."""
    return next(model.parameters()).device


def views_evaluation(flip: bool, scales: Sequence[float], window: tuple[int, int] | None) -> Evaluation:
    """The evaluation protocol for a few simple options.

    Args:
        flip: Average probabilities with those of the mirror image.
        scales: Average probabilities over the image resized by these factors.
        window: Height and width of overlapping windows over the image; None predicts the whole image at once.

    Raises:
        ConfigError: A scale or a side of the window is not above 0.
    """
    protocol = Original() if window is None else Sliding(crop=list(window), stride=WINDOW_STRIDE, ragged=False)
    return Evaluation(protocol=protocol, flip=flip, scales=list(scales), absent="left_out")


def read_off(logits: Tensor, every: bool = True) -> list[Prediction]:
    """One `Prediction` per image, on the CPU.

    Args:
        logits: (B, C, H, W).
        every: Whether to keep the probabilities of all classes, which take C times the memory.
    """
    label = most_probable(logits).to(torch.uint8).cpu().numpy()
    probabilities = logits.float().softmax(dim=1)
    confidence = probabilities.amax(dim=1).cpu().numpy()
    probabilities = (probabilities if every else probabilities[:, :0]).cpu().numpy()
    return [Prediction(*parts) for parts in zip(label, confidence, probabilities, strict=True)]
