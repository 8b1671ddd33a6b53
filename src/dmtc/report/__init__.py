"""Reports of runs and sweeps: results.json, text tables, and HTML pages with charts and images."""

from dmtc.report.confusion import confusion_picture
from dmtc.report.costs import cost_page
from dmtc.report.in_step import step_lines
from dmtc.report.opening import opening_lines
from dmtc.report.results import confusion_of, gather_results, gather_test
from dmtc.report.runs import write_run_report
from dmtc.report.sweeps import write_sweep_report
from dmtc.report.tables import metrics_table, plan_table, protocols_table, results_table, scores_table
from dmtc.report.worth_labelling_page import write_next

__all__ = [
    "confusion_of",
    "confusion_picture",
    "cost_page",
    "gather_results",
    "gather_test",
    "metrics_table",
    "opening_lines",
    "plan_table",
    "protocols_table",
    "results_table",
    "scores_table",
    "step_lines",
    "write_next",
    "write_run_report",
    "write_sweep_report",
]
