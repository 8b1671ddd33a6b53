"""A head on a backbone of every family through every format."""

import runpy
from pathlib import Path

import pytest

MAKING = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "making" / "exports.py"))
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
ROWS = {
    " ".join(cell.strip("` ") for cell in line.split("|")[1:3]): [cell.strip() for cell in line.split("|")[3:6]]
    for line in PAGE.split(MAKING["BEGIN"])[1].split(MAKING["END"])[0].splitlines()
    if line.startswith("| `") and "model=" not in line
}


def test_the_page_has_a_row_for_each():
    assert list(ROWS) == list(MAKING["CASES"])
    assert not any(cell == "no" for cells in ROWS.values() for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("case", MAKING["CASES"])
@pytest.mark.parametrize("kind", MAKING["KINDS"])
def test_it_exports_as_the_page_says(case, kind, tmp_path):
    told = ROWS[case][MAKING["KINDS"].index(kind)]
    agreement = MAKING["exported"](case, kind, tmp_path, MAKING["ONE_SIZE"] if "one size" in told else None)
    assert agreement.is_close, agreement.text()
