"""Logs a run's values: always to metrics.jsonl in its folder, and to any number of loggers."""

from dmtc.tracking.csv_logger import CsvLogger
from dmtc.tracking.json_lines import JsonLines, read_records
from dmtc.tracking.mlflow_logger import MLflowLogger
from dmtc.tracking.panel import Panel
from dmtc.tracking.run_log import RunLog
from dmtc.tracking.tensorboard_logger import TensorBoardLogger
from dmtc.tracking.tracker import LOGGERS, Record, Tracker
from dmtc.tracking.values import phase_values
from dmtc.tracking.wandb_logger import WandbLogger

__all__ = [
    "LOGGERS",
    "CsvLogger",
    "JsonLines",
    "MLflowLogger",
    "Panel",
    "Record",
    "RunLog",
    "TensorBoardLogger",
    "Tracker",
    "WandbLogger",
    "phase_values",
    "read_records",
]
