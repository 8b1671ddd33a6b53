"""A build hook: the README as the page of the package, where its relative links would lead nowhere.

Links become addresses in the repository of `[project.urls]`, at the tag of the version.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def with_addresses(text: str, repository: str, tag: str) -> str:
    """Make every relative link of a page absolute; pictures lead to the bare file."""

    def absolute(link: re.Match[str]) -> str:
        picture, words, path = link.groups()
        return f"{picture}[{words}]({repository}/{'raw' if picture else 'blob'}/{tag}/{path})"

    return LINK.sub(absolute, text)


class PackagePage(MetadataHookInterface):
    """Sets `readme` in the metadata of the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read the README and the version in the source."""
        root = Path(self.root)
        version = re.findall(
            r'^__version__ = "(.+)"$', (root / "src/dmtc/core/version.py").read_text("utf-8"), re.MULTILINE
        )[0]
        readme = (root / "README.md").read_text("utf-8")
        text = with_addresses(readme, metadata["urls"]["Repository"], f"v{version}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
