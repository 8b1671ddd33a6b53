"""The networks: backbones, heads, and where their weights come from."""

from dmtc.models import deeplabv2, resnet, timm_backbone, tiny  # noqa: F401  (importing registers them)
from dmtc.models.base import BACKBONES, MODELS, Backbone, SegmentationModel, build_model
from dmtc.models.normalization import Normalization
from dmtc.models.weight_files import read_weights, save_weights
from dmtc.models.weights import WeightsReport, load_weights

__all__ = [
    "BACKBONES",
    "MODELS",
    "Backbone",
    "Normalization",
    "SegmentationModel",
    "WeightsReport",
    "build_model",
    "load_weights",
    "read_weights",
    "save_weights",
]
