"""Predictions for arrays, image files and videos."""

from dmtc.prediction.arrays import Prediction, PredictsArrays
from dmtc.prediction.layouts import LAYOUTS
from dmtc.prediction.of_run import PredictionOptions, chosen_networks, predict_run, prediction_summary
from dmtc.prediction.outputs import KINDS, Outputs

__all__ = [
    "KINDS",
    "LAYOUTS",
    "Outputs",
    "Prediction",
    "PredictionOptions",
    "PredictsArrays",
    "chosen_networks",
    "predict_run",
    "prediction_summary",
]
