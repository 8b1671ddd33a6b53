"""Weights: starting weights, weight files, and the weights that a run saves."""

from dmtc.models.weights.files import read_weights, save_weights
from dmtc.models.weights.starting import WeightsReport, load_weights

__all__ = ["WeightsReport", "load_weights", "read_weights", "save_weights"]
