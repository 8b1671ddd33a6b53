"""The losses. Importing this package registers them all in `LOSSES`."""

from dmtc.losses.base import LOSSES, Loss, evaluate_loss, inputs_of, masked_mean, upsample
from dmtc.losses.contrast import RegionalContrast
from dmtc.losses.cross_entropy import CrossEntropy
from dmtc.losses.pseudo_label import DynamicMutualLoss, DynamicSelfLoss, FlipLoss, OnlineLoss

__all__ = [
    "LOSSES",
    "CrossEntropy",
    "DynamicMutualLoss",
    "DynamicSelfLoss",
    "FlipLoss",
    "Loss",
    "OnlineLoss",
    "RegionalContrast",
    "evaluate_loss",
    "inputs_of",
    "masked_mean",
    "upsample",
]
