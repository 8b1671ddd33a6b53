"""The report of a single run."""

from dmtc.report.runs.run_report import write_run_report

__all__ = ["write_run_report"]
