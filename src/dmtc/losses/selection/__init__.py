"""Which pixels of pseudo-labelled images are learned. Importing this package registers them all in `SELECTIONS`."""

from dmtc.losses.selection.base import SELECTIONS, Pixels, Selection, SelectsPixels
from dmtc.losses.selection.class_share import ClassShare
from dmtc.losses.selection.entropy_percentile import EntropyPercentile
from dmtc.losses.selection.fixed import Everything, Threshold
from dmtc.losses.selection.image_weights import ImageMean, ImageShare
from dmtc.losses.selection.running_threshold import RunningThreshold

__all__ = [
    "SELECTIONS",
    "ClassShare",
    "EntropyPercentile",
    "Everything",
    "ImageMean",
    "ImageShare",
    "Pixels",
    "RunningThreshold",
    "Selection",
    "SelectsPixels",
    "Threshold",
]
