"""Pseudo-labels: a teacher's predictions and confidences, and the share of every class that is kept."""

from dmtc.core.levels import LEVELS, confidence_histogram, level_confidence
from dmtc.pseudo.labelling import label_images, predict_with_log_odds
from dmtc.pseudo.reliability import agreement, by_reliability, image_reliability
from dmtc.pseudo.selection import class_balanced_thresholds
from dmtc.pseudo.store import PseudoLabel, PseudoLabels, PseudoLabelStore

__all__ = [
    "LEVELS",
    "PseudoLabel",
    "PseudoLabelStore",
    "PseudoLabels",
    "agreement",
    "by_reliability",
    "class_balanced_thresholds",
    "confidence_histogram",
    "image_reliability",
    "label_images",
    "level_confidence",
    "predict_with_log_odds",
]
