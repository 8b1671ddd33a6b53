"""The networks: backbones, heads, and where their weights come from."""

from dmtc.models import (  # noqa: F401  (importing registers them)
    deeplabv2,
    deeplabv3plus,
    dpt,
    linear,
    resnet,
    segformer,
    timm_backbone,
    tiny,
    upernet,
    vit,
)
from dmtc.models.base import BACKBONES, MODELS, Backbone, Level, SegmentationModel, build_model, model_faults
from dmtc.models.normalization import Normalization
from dmtc.models.recomputation import recompute_blocks
from dmtc.models.tuning import TUNINGS, Tuning
from dmtc.models.weight_files import read_weights, save_weights
from dmtc.models.weights import WeightsReport, load_weights

__all__ = [
    "BACKBONES",
    "MODELS",
    "TUNINGS",
    "Backbone",
    "Level",
    "Normalization",
    "SegmentationModel",
    "Tuning",
    "WeightsReport",
    "build_model",
    "load_weights",
    "model_faults",
    "read_weights",
    "recompute_blocks",
    "save_weights",
]
