"""Tables of text cells say the same as Markdown, aligned text and HTML."""

import pytest

from espnet_topdown.table import Table, counted

TABLE = Table("Errors", ("phase", "Err"), [("p<1>", "12.5"), ("a|b", "6.0")], ("A note.",))


def test_markdown_keeps_a_cell_in_its_column() -> None:
    assert TABLE.markdown().splitlines() == [
        "## Errors",
        "",
        "|phase|Err|",
        "|---|---|",
        "|p<1>|12.5|",
        "|a/b|6.0|",
        "",
        "- A note.",
    ]


def test_numbers_stand_right_in_text() -> None:
    assert TABLE.terminal().splitlines() == [
        "Errors",
        "phase  Err",
        "-----  ----",
        "p<1>   12.5",
        "a|b     6.0",
        "  A note.",
    ]


def test_html_is_escaped() -> None:
    html = TABLE.html()
    assert html.startswith('<h2>Errors</h2><div class="scroll"><table>')
    assert "<tr><td>p&lt;1&gt;</td><td>12.5</td></tr>" in html
    assert html.endswith("<ul><li>A note.</li></ul>")


def test_folded_html_keeps_its_heading_in_sight() -> None:
    html = TABLE.html(is_folded=True)
    assert html.startswith("<details><summary>Errors</summary>")
    assert html.endswith("</details>")


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 speakers"), (1, "1 speaker"), (20, "20 speakers")]
)
def test_nouns_follow_their_number(number: int, words: str) -> None:
    assert counted(number, "speaker") == words
