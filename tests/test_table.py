"""Tables of text cells say the same as Markdown, aligned text, HTML, LaTeX and CSV."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from espnet_topdown.table import Page, Table, counted

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


SPECIAL = r"a_b 5% &co $x #1 ~/exp ^up \cut {k} <unk> p|q"
ESCAPED = (
    r"a\_b 5\% \&co \$x \#1 \textasciitilde{}/exp \textasciicircum{}up \textbackslash{}cut \{k\}"
    r" \textless{}unk\textgreater{} p\textbar{}q"
)


def test_latex_is_booktabs_with_all_of_its_own_characters_escaped() -> None:
    rows = [(SPECIAL, "12.5", "-0.3"), ("phase-1", "-", "+1.2 to -3")]
    table = Table("WER: 5 %", ("phase", "Err", "by 95 %"), rows, ("Fewer_words.", "Again."))
    assert table.latex().splitlines() == [
        r"\begin{table}",
        r"  \centering",
        r"  \caption{WER: 5 \%}",
        r"  \begin{tabular}{lrl}",
        r"    \toprule",
        r"    phase & Err & by 95 \% \\",
        r"    \midrule",
        rf"    {ESCAPED} & 12.5 & $-$0.3 \\",
        r"    phase-1 & - & $+$1.2 to $-$3 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip\parbox{\linewidth}{\footnotesize Fewer\_words. Again.}",
        r"\end{table}",
    ]


def test_csv_is_one_table_with_the_name_of_each_rows_own() -> None:
    other = Table("Speed, in s", ("phase", "time"), [('"a"\nb', "1,5"), ("é", "2")])
    text = Page("Results", [TABLE, other]).csv()
    assert text == (
        "table,phase,Err,time\r\n"
        "Errors,p<1>,12.5,\r\n"
        "Errors,a|b,6.0,\r\n"
        '"Speed, in s","""a""\nb",,"1,5"\r\n'
        '"Speed, in s",é,,2\r\n'
    )
    (_, _, _, third, _) = csv.reader(io.StringIO(text, newline=""))
    assert third == ["Speed, in s", '"a"\nb', "", "1,5"]


def test_csv_loses_no_cell_of_columns_with_one_name() -> None:
    table = Table("Sets", ("table", "test", "test"), [("1", "2", "3")])
    assert Page("Results", [table]).csv() == "table,table (2),test,test (2)\r\nSets,1,2,3\r\n"


DOCUMENT = r"\documentclass{article}\usepackage{booktabs}\begin{document}%s\end{document}"


@pytest.mark.skipif(not (ENGINE := shutil.which("pdflatex")), reason="no pdflatex on PATH")
def test_latex_compiles(tmp_path: Path) -> None:
    table = Table(SPECIAL, ("phase", SPECIAL), [(SPECIAL, "-1.2"), ("é", "<0.001")], (SPECIAL,))
    page = Page(SPECIAL, [table, TABLE], facts=[SPECIAL])
    (tmp_path / "page.tex").write_text(DOCUMENT % f"\n{page.latex()}\n", encoding="utf-8")
    words = [ENGINE, "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "page.log").read_text()
