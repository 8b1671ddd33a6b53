"""Writes the tables of docs/experiments.md anew from the headers of conf/experiment; takes no arguments."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "experiments.md"
RECIPES = Path(__file__).parents[2] / "conf" / "experiment"
BEGIN, END = "<!-- made by docs/making/experiments.py: %s -->", "<!-- end -->"
METHODS = ("supervised", "dmt", "dmtc")


def with_tables(page: str) -> str:
    """The page with its parts between the marks made anew."""
    for name, table in (("rounds", table_of_rounds()), ("online", table_of_online())):
        before, mark, rest = page.partition(BEGIN % name)
        _, _, after = rest.partition(END)
        page = f"{before}{mark}\n\n{table}\n\n{END}{after}"
    return page


def settings() -> list[Path]:
    """The settings of DMT and DMTC."""
    return sorted([*RECIPES.glob("_cityscapes_*.yaml"), *RECIPES.glob("_voc_*.yaml")])


def table_of_rounds() -> str:
    """One setting of DMT and DMTC a row, with the published mIoU of every method."""
    lines = [["setting", "`experiment=METHOD_...`", *METHODS], ["---"] * (2 + len(METHODS))]
    for base in settings():
        setting = base.stem.removeprefix("_")
        what = base.read_text("utf-8").splitlines()[1].removeprefix("# ").partition(": what all")[0]
        lines.append([what, f"`{setting}`", *(published(f"{method}_{setting}") for method in METHODS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_of_online() -> str:
    """One published line of a recipe a row: the figures of one method on one data set with one network."""
    lines = [["`experiment=...`", "what", "labelled list: published mIoU", "source"], ["---"] * 4]
    of_rounds = tuple(base.stem for base in settings())
    for path in sorted(RECIPES.glob("[!_]*.yaml")):
        header = path.read_text("utf-8").split("defaults:")[0]
        rows = published_lines(header)
        if path.stem.endswith(of_rounds) or not rows:
            continue
        what = header.splitlines()[1].removeprefix("# ").removesuffix(".")
        for number, (figures, source) in enumerate(rows):
            shown = ", ".join(f"{name}: {figure}" if name else figure for name, figure in figures.items()) or "-"
            lines.append([f"`{path.stem}`" if number == 0 else "", what if number == 0 else "", shown, source])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def published_lines(header: str) -> list[tuple[dict[str, str], str]]:
    """Figures by labelled list, "" if the recipe has a single one, and their source, for each such line of a header."""
    found: list[tuple[dict[str, str], str]] = []
    for line in re.findall(r"^# published: (.+)$", header, re.MULTILINE):
        if several := re.fullmatch(r"((?:\S+ \d+\.\d+(?:, )?)+) \((.+)\)", line):
            found.append((dict(pair.split() for pair in several[1].split(", ")), several[2]))
        elif one := re.match(r"(\d+\.\d+) mIoU \((.+?)\)", line):
            found.append(({"": one[1]}, one[2]))
        elif line.startswith("none"):
            found.append(({}, line))
    return found


def published(recipe: str) -> str:
    """The figure in a recipe's header, or a dash."""
    found = re.search(r"^# published: (\d+\.\d+) mIoU", (RECIPES / f"{recipe}.yaml").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "-"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
