"""Reports of runs and sweeps: results.json, text tables, and HTML pages with charts and images."""

from dmtc.report.costs import cost_page
from dmtc.report.in_step import step_lines
from dmtc.report.results import gather_results, gather_test
from dmtc.report.runs import write_run_report
from dmtc.report.sweeps import write_sweep_report
from dmtc.report.tables import plan_table, protocols_table, results_table, scores_table

__all__ = [
    "cost_page",
    "gather_results",
    "gather_test",
    "plan_table",
    "protocols_table",
    "results_table",
    "scores_table",
    "step_lines",
    "write_run_report",
    "write_sweep_report",
]
