"""The losses. Importing this package registers them all in `LOSSES`."""

from dmtc.losses.bank_contrast import BankContrast
from dmtc.losses.base import LOSSES, Loss, evaluate_loss, inputs_of, masked_mean, upsample
from dmtc.losses.consistency import KLDivergence, MeanSquaredError
from dmtc.losses.contrast import RegionalContrast, SharedContrast
from dmtc.losses.cross_entropy import CrossEntropy
from dmtc.losses.dice import Dice
from dmtc.losses.focal import Focal
from dmtc.losses.lovasz import LovaszSoftmax
from dmtc.losses.ohem import HardPixelCrossEntropy
from dmtc.losses.propagated import PropagatedCrossEntropy
from dmtc.losses.pseudo_label import DynamicMutualLoss, DynamicSelfLoss, FlipLoss, OnlineLoss
from dmtc.losses.selected import SelectedCrossEntropy
from dmtc.losses.selection import SELECTIONS
from dmtc.losses.weighted import SmoothedCrossEntropy, WeightedCrossEntropy

__all__ = [
    "LOSSES",
    "SELECTIONS",
    "BankContrast",
    "CrossEntropy",
    "Dice",
    "DynamicMutualLoss",
    "DynamicSelfLoss",
    "FlipLoss",
    "Focal",
    "HardPixelCrossEntropy",
    "KLDivergence",
    "Loss",
    "LovaszSoftmax",
    "MeanSquaredError",
    "OnlineLoss",
    "PropagatedCrossEntropy",
    "RegionalContrast",
    "SelectedCrossEntropy",
    "SharedContrast",
    "SmoothedCrossEntropy",
    "WeightedCrossEntropy",
    "evaluate_loss",
    "inputs_of",
    "masked_mean",
    "upsample",
]
