"""Where weights come from and go to: starting weights, files of weights, and those that a run has written itself."""

from dmtc.models.weights.files import read_weights, save_weights
from dmtc.models.weights.starting import WeightsReport, load_weights

__all__ = ["WeightsReport", "load_weights", "read_weights", "save_weights"]
