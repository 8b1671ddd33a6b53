"""metrics.csv, for spreadsheets."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmtc.core.files import write_atomically
from dmtc.tracking.json_lines import read_records
from dmtc.tracking.tracker import LOGGERS, Tracker


@LOGGERS.register("csv")
class CsvLogger(Tracker):
    """metrics.csv: metrics.jsonl as a table with one row per record, written when the run ends or stops.

    If the test part was scored, a last row `test` holds its scores.

    Args:
        folder: The run's folder.
    """

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the file."""
        test = (results.get("test") or {}).get("miou", {})
        scores = {f"test_miou_{name}": value for name, value in test.items() if value is not None}
        self._write([{"phase": "test", **scores}] if scores else [])

    def close(self) -> None:
        """Write the file with every column that any row has."""
        self._write([])

    def _write(self, last: list[dict[str, Any]]) -> None:
        rows = [*read_records(self._folder / "metrics.jsonl"), *last]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self._folder / "metrics.csv", table.getvalue())
