"""Text of the user's in Markdown, LaTeX and tables of text: shown as it is written, whatever letters are in it."""

_MARKDOWN = {letter: f"\\{letter}" for letter in "\\|`*[]$~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}


def in_one_line(text: str) -> str:
    """Text without line breaks and escape codes."""
    return "".join(one if one.isprintable() else " " if one.isspace() else repr(one)[1:-1] for one in text)


def in_markdown(text: str) -> str:
    r"""Text as a cell of a table, or anywhere in Markdown; no HTML.

    Examples:
        >>> in_markdown("a|b <img>")
        'a\\|b &lt;img&gt;'
    """
    return "".join(_MARKDOWN.get(letter, letter) for letter in in_one_line(text))


def in_latex(text: str) -> str:
    """Text of a LaTeX document."""
    return "".join(_LATEX.get(letter, letter) for letter in in_one_line(text))
