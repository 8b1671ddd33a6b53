"""Networks: backbones, heads and weights."""

from dmtc.models import backbones, heads  # noqa: F401  (importing registers them)
from dmtc.models.base import BACKBONES, MODELS, Backbone, Level, SegmentationModel
from dmtc.models.building import build_model, model_faults, network_title
from dmtc.models.external import NETWORKS
from dmtc.models.normalization import Normalization
from dmtc.models.perturbation import PERTURBATIONS, Perturbation
from dmtc.models.projection import Projection
from dmtc.models.recomputation import recompute_blocks
from dmtc.models.tuning import TUNINGS, Tuning
from dmtc.models.weights import WeightsReport, load_weights, read_weights, save_weights

__all__ = [
    "BACKBONES",
    "MODELS",
    "NETWORKS",
    "PERTURBATIONS",
    "TUNINGS",
    "Backbone",
    "Level",
    "Normalization",
    "Perturbation",
    "Projection",
    "SegmentationModel",
    "Tuning",
    "WeightsReport",
    "build_model",
    "load_weights",
    "model_faults",
    "network_title",
    "read_weights",
    "recompute_blocks",
    "save_weights",
]
