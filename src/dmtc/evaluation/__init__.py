"""Scoring: what the network is shown of a validation picture, what is counted, and the scores from the counts."""

from dmtc.evaluation import sliding  # noqa: F401  (importing registers its protocols)
from dmtc.evaluation.evaluate import Evaluation, build_evaluation, evaluate, evaluation_faults, title_of
from dmtc.evaluation.predictors import Predictor, averaged, ensemble, shown_at
from dmtc.evaluation.protocols import PROTOCOLS, Protocol
from dmtc.evaluation.scores import Absent, Scores, confusion_counts, scores_of

__all__ = [
    "PROTOCOLS",
    "Absent",
    "Evaluation",
    "Predictor",
    "Protocol",
    "Scores",
    "averaged",
    "build_evaluation",
    "confusion_counts",
    "ensemble",
    "evaluate",
    "evaluation_faults",
    "scores_of",
    "shown_at",
    "title_of",
]
