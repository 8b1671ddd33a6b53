"""metrics.csv, for spreadsheets."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmtc.files import write_atomically
from dmtc.tracking.json_lines import read_records
from dmtc.tracking.tracker import LOGGERS, Tracker


@LOGGERS.register("csv")
class CsvLogger(Tracker):
    """metrics.csv: metrics.jsonl as a table, one row a record, written when the run ends or stops.

    Args:
        folder: Of the run.
    """

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the file."""
        self.close()

    def close(self) -> None:
        """Write the file with every column that any row has."""
        rows = read_records(self._folder / "metrics.jsonl")
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self._folder / "metrics.csv", table.getvalue())
