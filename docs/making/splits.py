"""Writes the tables of docs/splits.md anew from src/dmtc/splits/published.json: `python docs/making/splits.py`."""

from pathlib import Path

from dmtc.splits import published_sources, published_splits

PAGE = Path(__file__).parents[1] / "splits.md"
BEGIN, END = "<!-- made by docs/making/splits.py -->", "<!-- end -->"
TITLES = {
    "voc": "VOC (10,582 images)",
    "cityscapes": "Cityscapes (2,975 images)",
    "ade20k": "ADE20K (20,210 images)",
    "coco": "COCO (118,287 images)",
}


def with_tables(page: str) -> str:
    """The page with its part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = [sources_table(), *(f"## {title}\n\n{splits_table(name)}" for name, title in TITLES.items())]
    return f"{before}{BEGIN}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}"


def sources_table() -> str:
    """The repositories, one a row."""
    rows = [
        [
            source.name,
            source.paper,
            f"[{source.repository}](https://github.com/{source.repository}) at `{source.commit[:12]}`",
            source.license,
            source.layout,
        ]
        for source in published_sources()
    ]
    return table(["name", "paper", "repository", "license", "a line of its lists"], rows)


def splits_table(dataset: str) -> str:
    """The splits of a data set, one a row, with links to the labelled lists that make it."""
    sources = {source.name: source for source in published_sources()}
    rows = []
    for split in published_splits():
        if split.dataset != dataset:
            continue
        links = []
        for shipped in split.lists:
            source = sources[shipped.source]
            address = f"https://github.com/{source.repository}/blob/{source.commit}/{shipped.file}"
            links.append(f"[{source.name} {shipped.name}]({address})")
        both = f" ({split.on_both} also labelled)" if split.on_both else ""
        rows.append(
            [
                str(split.labelled),
                f"{split.unlabelled}{both}",
                f"`{split.labelled_sha256[:12]}`",
                f"`{split.unlabelled_sha256[:12]}`" if split.unlabelled_sha256 else "not read",
                " · ".join(links),
            ]
        )
    return table(["labelled", "unlabelled", "sha256, labelled", "sha256, unlabelled", "lists"], rows)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
