"""Writes the table of docs/experiments.md anew from the headers of conf/experiment; takes no arguments."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "experiments.md"
RECIPES = Path(__file__).parents[2] / "conf" / "experiment"
BEGIN, END = "<!-- made by docs/making/experiments.py -->", "<!-- end -->"
METHODS = ("supervised", "dmt", "dmtc")


def with_table(page: str) -> str:
    """The page with its part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def table() -> str:
    """One setting a row, with the published mIoU of every method."""
    lines = [["setting", "`experiment=METHOD_...`", *METHODS], ["---"] * (2 + len(METHODS))]
    for base in sorted(RECIPES.glob("_*_*.yaml")):
        setting = base.stem.removeprefix("_")
        what = base.read_text("utf-8").splitlines()[1].removeprefix("# ").partition(": what all")[0]
        lines.append([what, f"`{setting}`", *(published(f"{method}_{setting}") for method in METHODS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def published(recipe: str) -> str:
    """The figure in a recipe's header, or a dash."""
    found = re.search(r"^# published: (\d+\.\d+) mIoU", (RECIPES / f"{recipe}.yaml").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "-"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
