"""The report of many runs."""

from dmtc.report.sweeps.sweep_report import write_sweep_report

__all__ = ["write_sweep_report"]
