"""Names of classes in Markdown, LaTeX, tables and figures, as they are written."""

from dmtc.core.markup import in_latex, in_markdown, in_one_line
from dmtc.export.card import _classes
from dmtc.report.chart_style import _STYLE


def test_names_are_shown_as_they_are_written():
    assert in_markdown("a|b\nc <img src=x onerror=alert(1)>") == "a\\|b c &lt;img src=x onerror=alert(1)&gt;"
    assert in_latex(r"$\frac{") == r"\$\textbackslash{}frac\{"
    assert in_one_line("a\x1b[31m\tb") == "a\\x1b[31m b"
    assert _STYLE["text.parse_math"] is False


def test_a_card_holds_no_html_of_the_users():
    classes = [{"name": "<b>|\n", "color": [0, 0, 0]}]
    table = _classes({"results": None, "task": {"classes": classes}})
    assert "<" not in table
    assert len(table.splitlines()) == 3
