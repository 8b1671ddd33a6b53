"""Scoring: how a network sees a validation image, the pixels counted, and the scores computed from the counts."""

from dmtc.evaluation import image_metrics, sliding  # noqa: F401  (importing registers its metrics and protocols)
from dmtc.evaluation.evaluate import Evaluation, build_evaluation, evaluate, evaluation_faults, title_of
from dmtc.evaluation.metrics import METRICS, Absent, ImageMetric, MetricValue, mean_over_classes
from dmtc.evaluation.predictors import Predictor, averaged, ensemble, shown_at
from dmtc.evaluation.protocols import PROTOCOLS, Protocol
from dmtc.evaluation.scores import Scores, confusion_counts, scores_of

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "Absent",
    "Evaluation",
    "ImageMetric",
    "MetricValue",
    "Predictor",
    "Protocol",
    "Scores",
    "averaged",
    "build_evaluation",
    "confusion_counts",
    "ensemble",
    "evaluate",
    "evaluation_faults",
    "mean_over_classes",
    "scores_of",
    "shown_at",
    "title_of",
]
