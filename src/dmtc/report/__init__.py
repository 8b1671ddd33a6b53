"""What came out of a run: results.json, a table to read, pictures."""

from dmtc.report.costs import cost_page
from dmtc.report.pictures import draw_pictures
from dmtc.report.results import gather_results
from dmtc.report.sweeps import write_sweep_report
from dmtc.report.tables import plan_table, protocols_table, results_table, scores_table

__all__ = [
    "cost_page",
    "draw_pictures",
    "gather_results",
    "plan_table",
    "protocols_table",
    "results_table",
    "scores_table",
    "write_sweep_report",
]
