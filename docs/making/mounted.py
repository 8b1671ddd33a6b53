"""A hook of the site: pages may link to files of the repository, which then are part of the site, under the same path.

In the repository `docs/` is one folder among others, on the site it is the root. Links are written for the repository
(`../CHANGELOG.md`), and turned here; Markdown and notebooks become pages, anything else a file to download or a picture
to see. Formulas become MathML, which browsers typeset themselves: no script, no font. Also sees to it that a reader's
browser is sent to no other host.
"""

import html
import logging
import re
import sys
import tomllib
from pathlib import Path
from posixpath import normpath

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from notebook_pages import page_of

log = logging.getLogger("mkdocs.hooks.mounted")

LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")
FETCHED = re.compile(
    r"<(?:script|img|iframe|link rel=\"(?:stylesheet|preconnect|icon)\")[^>]*(?:src|href)=\"(?:https?:)?//[^>]*"
)
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])</\1>', re.DOTALL
)
HOME = {"README.md": "index.md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Link to the repository, at the address in pyproject.toml once there is one."""
    project = tomllib.loads((Path(config.docs_dir).parent / "pyproject.toml").read_text("utf-8"))["project"]
    address = project["urls"]["Repository"]
    if "OWNER" not in address:
        config.repo_url = address
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside of docs/, and what those files link to."""
    docs = Path(config.docs_dir)
    waiting = [(f"docs/{file.src_uri}", Path(str(file.abs_src_path))) for file in files.documentation_pages()]
    while waiting:
        uri, path = waiting.pop()
        for link, _ in LINK.findall(path.read_text("utf-8")):
            target = normpath(f"{uri}/../{link}")
            if target.startswith(("docs/", "..")) or target in HOME or files.get_file_from_path(target):
                continue
            source = docs.parent / target
            if source.is_file() and source.suffix == ".ipynb":
                waiting += _notebook(source, target, files, config)
            elif source.is_file():  # a link to nowhere is left for MkDocs to tell
                inclusion = InclusionLevel.INCLUDED if source.suffix == ".md" else InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, target, abs_src_path=str(source), inclusion=inclusion))
                if source.suffix == ".md":
                    waiting.append((target, source))
    return files


def _notebook(source: Path, target: str, files: Files, config: MkDocsConfig) -> list[tuple[str, Path]]:
    """Add a notebook's page, its figures, and the notebook itself; its text may link to more."""
    folder, page = target.rpartition("/")[0], target.replace(".ipynb", ".md")
    if files.get_file_from_path(page):
        return []
    text, figures = page_of(source)
    files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, target, abs_src_path=str(source), inclusion=InclusionLevel.NOT_IN_NAV))
    for name, content in figures.items():
        files.append(File.generated(config, f"{folder}/{name}", content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return [(target, source)]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    uri = page.file.src_uri
    of_docs = Path(str(page.file.abs_src_path)).is_relative_to(config.docs_dir)
    here = f"docs/{uri}" if of_docs else uri
    up = "../" * uri.count("/")

    def turned(link: re.Match[str]) -> str:
        target = normpath(f"{here}/../{link[1]}")
        if target in HOME:  # which has other sections
            return up + HOME[target]
        if target.endswith(".ipynb"):
            target = target.replace(".ipynb", ".md")
        return up + target.removeprefix("docs/") + (link[2] or "")

    return LINK.sub(turned, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Typeset formulas."""

    def typeset(formula: re.Match[str]) -> str:
        is_block = formula["block"] is not None
        text = formula["block"] if is_block else formula["inline"]
        mathml = convert(html.unescape(text), display="block" if is_block else "inline")
        return f'<div class="formula">{mathml}</div>' if is_block else mathml

    return FORMULA.sub(typeset, content)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn, and so fail a strict build, where a page has something fetched from another host."""
    for fetched in FETCHED.findall(output):
        log.warning("%s fetches from another host: %s", page.file.src_uri, fetched)
    return output
