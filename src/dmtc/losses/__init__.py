"""The losses. Importing this package registers them all in `LOSSES`."""

from dmtc.losses.bank_contrast import BankContrast
from dmtc.losses.base import LOSSES, Loss, evaluate_loss, inputs_of, masked_mean, upsample
from dmtc.losses.consistency import KLDivergence, MeanSquaredError
from dmtc.losses.contrast import RegionalContrast
from dmtc.losses.cross_entropy import CrossEntropy
from dmtc.losses.ohem import HardPixelCrossEntropy
from dmtc.losses.propagated import PropagatedCrossEntropy
from dmtc.losses.pseudo_label import DynamicMutualLoss, DynamicSelfLoss, FlipLoss, OnlineLoss
from dmtc.losses.selected import SelectedCrossEntropy
from dmtc.losses.selection import SELECTIONS

__all__ = [
    "LOSSES",
    "SELECTIONS",
    "BankContrast",
    "CrossEntropy",
    "DynamicMutualLoss",
    "DynamicSelfLoss",
    "FlipLoss",
    "HardPixelCrossEntropy",
    "KLDivergence",
    "Loss",
    "MeanSquaredError",
    "OnlineLoss",
    "PropagatedCrossEntropy",
    "RegionalContrast",
    "SelectedCrossEntropy",
    "evaluate_loss",
    "inputs_of",
    "masked_mean",
    "upsample",
]
