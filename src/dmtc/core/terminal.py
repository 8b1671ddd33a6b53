"""Text on a terminal: lines end between words and tables between columns, however narrow it is."""

import os
import re
import sys
import textwrap
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import TextIO

_RULE = re.compile(r"-+(?:  -+)+|\| -+(?: \| -+)+ \|")
"""The line below the head of a table, whose columns have two spaces or, in Markdown, a bar between them."""

_LABEL = re.compile(r"\s*(?:[\w/.-]+:|[-*])\s+")
"""What a line begins with that its further lines are indented below."""


def show(text: str = "", file: TextIO | None = None, end: str = "\n") -> None:
    """Print text, fitted to the terminal if it goes to one; files and pipes get the lines as they are.

    Args:
        text: Any lines and tables.
        file: Where it goes; standard output by default.
        end: What is printed after it.
    """
    stream = sys.stdout if file is None else file
    print(fitted(text, width_of(stream)), file=stream, end=end, flush=True)


def width_of(stream: TextIO) -> int | None:
    """The columns of a terminal; None for a stream that is no terminal, or one without a known width."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or None) if stream.isatty() else None
    except (OSError, ValueError):
        return None


def fitted(text: str, width: int | None) -> str:
    r"""Text whose lines are at most so wide, where words allow it; a longer word, such as a path, stays whole.

    Args:
        text: Lines, and tables with a rule of hyphens below the head, as `text_table` and `markdown` make them.
        width: Columns; None leaves everything as it is.

    Examples:
        >>> print(fitted("method:   dmtc, seed 0: 12 phases, 1600 steps", 30))
        method:   dmtc, seed 0: 12
                  phases, 1600 steps
        >>> print(fitted("phase  net  steps\n-----  ---  -----\nr0-a     a    300", 12))
        phase  net
        -----  ---
        r0-a     a
        <BLANKLINE>
        phase  steps
        -----  -----
        r0-a     300
    """
    if width is None:
        return text
    lines, done = text.split("\n"), []
    while lines:
        if len(lines) > 1 and _RULE.fullmatch(lines[1]):
            spans = [match.span() for match in re.finditer("-+", lines[1])]
            rows = 2 + next((i for i, line in enumerate(lines[2:]) if not _is_row(line, spans)), len(lines) - 2)
            done += lines[:rows] if len(lines[1]) <= width else _table(lines[:rows], spans, width)
            del lines[:rows]
        else:
            done += _folded(lines.pop(0), width)
    return "\n".join(done)


def _folded(line: str, width: int) -> list[str]:
    """A line as several, the further ones indented below what stands after its label."""
    if len(line) <= width:
        return [line]
    label = _LABEL.match(line)
    indent = label.end() if label and label.end() <= width // 3 else len(line) - len(line.lstrip()) + 2
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * min(indent, width // 3),
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def _is_row(line: str, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a line belongs to the table: it is not empty, and nothing but a bar is between its columns."""
    gaps = [line[end:begin].strip() for (_, end), (begin, _) in pairwise(spans)]
    beyond = line[: spans[0][0]].strip() + line[spans[-1][1] :].strip()
    return bool(line.strip()) and not set(beyond + "".join(gaps)) - {"|"}


def _table(lines: Sequence[str], spans: Sequence[tuple[int, int]], width: int) -> list[str]:
    """A table as several below each other, each with the first column; a column that is too wide has lines folded."""
    before, between, after = ("| ", " | ", " |") if lines[1].startswith("|") else ("", "  ", "")
    (begin, end), *others = spans
    room = width - len(before) - (end - begin) - len(after)
    blocks: list[list[tuple[int, int]]] = []
    left = 0
    for span in others:
        needed = len(between) + span[1] - span[0]
        if not blocks or needed > left:
            blocks.append([])
            left = room
        blocks[-1].append(span)
        left -= needed
    done: list[str] = []
    for block in blocks:
        most = max(room - len(between), 1)
        cut = [end - begin, *(min(stop - start, most) if len(block) == 1 else stop - start for start, stop in block)]
        for line in lines:
            cells = [line[start:stop] for start, stop in [spans[0], *block]]
            folded = [
                [cell]
                if len(cell) <= size
                else ["-" * size]
                if not cell.strip("-")
                else textwrap.wrap(cell.strip(), size, break_long_words=False, break_on_hyphens=False)
                for cell, size in zip(cells, cut, strict=True)
            ]
            for row in zip_longest(*folded, fillvalue=""):
                padded = [cell.ljust(size) for cell, size in zip(row, cut, strict=True)]
                done.append(f"{before}{between.join(padded)}{after}".rstrip())
        done.append("")
    return done[:-1]
