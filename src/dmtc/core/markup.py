"""Escape user text for Markdown, LaTeX and text tables, so that it shows exactly as written."""

_MARKDOWN = {letter: f"\\{letter}" for letter in "\\|`*[]$~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}


def in_one_line(text: str) -> str:
    """Return the text on one line: whitespace becomes spaces, control characters show as escapes."""
    return "".join(char if char.isprintable() else " " if char.isspace() else repr(char)[1:-1] for char in text)


def in_markdown(text: str) -> str:
    r"""Escape text for a table cell or anywhere else in Markdown; HTML is escaped too.

    Examples:
        >>> in_markdown("a|b <img>")
        'a\\|b &lt;img&gt;'
    """
    return "".join(_MARKDOWN.get(letter, letter) for letter in in_one_line(text))


def in_latex(text: str) -> str:
    """Escape text for a LaTeX document."""
    return "".join(_LATEX.get(letter, letter) for letter in in_one_line(text))
