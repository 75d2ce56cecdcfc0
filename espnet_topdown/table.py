"""Tables of text cells: the only renderer of tables here.

As Markdown, aligned text, HTML, LaTeX and CSV.
"""

import csv
import html
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

# What LaTeX would take for a command of its own, or set as another character in its old fonts.
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)
# Of numbers, what is neither a digit nor a sign.
_POINTS = str.maketrans("", "", ",.%")
_SIGN = re.compile(r"(?<![\w.)])[-+](?=\d)")


@dataclass(frozen=True)
class Table:
    """One table: heading, column names, rows of text cells, and notes under it."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """As Markdown, with its heading and notes."""
        rules = ["---"] * len(self.header)
        lines = [_markdown_row(cells) for cells in (self.header, rules, *self.rows)]
        parts = [f"## {self.heading}", "\n".join(lines), _markdown_list(self.notes)]
        return "\n\n".join(filter(None, parts))

    def terminal(self) -> str:
        """As text with aligned columns, its heading above and its notes below."""
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([self.heading, aligned(self.header, self.rows), *notes])

    def latex(self) -> str:
        """As a LaTeX table of the package booktabs, its heading as caption and its notes below."""
        columns = "".join("r" if _are_numbers(cells) else "l" for cells in zip(*self.rows))
        lines = [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(self.heading)}}}",
            rf"  \begin{{tabular}}{{{columns or 'l' * len(self.header)}}}",
            r"    \toprule",
            _latex_row(self.header),
            r"    \midrule",
            *map(_latex_row, self.rows),
            r"    \bottomrule",
            r"  \end{tabular}",
        ]
        if self.notes:
            notes = " ".join(map(_latex, self.notes))
            lines.append(rf"  \par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}")
        return "\n".join([*lines, r"\end{table}"])

    def html(self, *, is_folded: bool = False) -> str:
        """As HTML, its heading above and its notes below; folded, the heading unfolds it."""
        heading = html.escape(self.heading)
        header = _html('th scope="col"', self.header)
        rows = "".join(map(_html_row, self.rows))
        table = f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
        body = f'<div class="scroll">{table}</div>'
        if self.notes:
            body += f"<ul>{_html('li', self.notes)}</ul>"
        if is_folded:
            return f"<details><summary>{heading}</summary>{body}</details>"
        return f"<h2>{heading}</h2>{body}"


@dataclass(frozen=True)
class Page:
    """Tables under one title, and the same numbers as plain data; `facts` stand under the title."""

    title: str
    tables: Sequence[Table]
    data: dict[str, Any] = field(default_factory=dict)
    facts: Sequence[str] = ()

    def markdown(self) -> str:
        """As Markdown."""
        head = [f"# {self.title}", _markdown_list(self.facts)]
        return "\n\n".join([*filter(None, head), *map(Table.markdown, self.tables)]) + "\n"

    def terminal(self) -> str:
        """As text with aligned columns."""
        head = "\n".join([self.title, *(f"  {fact}" for fact in self.facts)])
        return "\n\n".join([head, *map(Table.terminal, self.tables)]) + "\n"

    def latex(self) -> str:
        """As LaTeX tables, for a document that uses the package booktabs."""
        facts = "".join(f"% {fact}\n" for fact in (self.title, *self.facts))
        tables = "\n\n".join(map(Table.latex, self.tables))
        return f"% \\usepackage{{booktabs}}\n{facts}\n{tables}"

    def csv(self) -> str:
        """As one table by RFC 4180: all rows under the names of all columns, with their heading."""
        headers = [list(_told_apart(["table", *table.header])) for table in self.tables]
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, dict.fromkeys(itertools.chain(["table"], *headers)))
        writer.writeheader()
        for table, header in zip(self.tables, headers, strict=True):
            for cells in table.rows:
                writer.writerow(dict(zip(header, (table.heading, *cells), strict=True)))
        return stream.getvalue()

    def json(self) -> str:
        """As JSON text."""
        return json.dumps(self.data, indent=1, ensure_ascii=False)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A header and rows of cells as text with aligned columns; numbers stand right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rules = ["-" * width for width in widths]
    lines = []
    for cells in (header, rules, *rows):
        lines.append("  ".join(map(_pad, cells, widths)).rstrip())
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 speaker" or "20 speakers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _told_apart(names: Iterable[str]) -> Iterator[str]:
    """The names, with (2) after the second of one name: a data set may be called as a column is."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"


def _html_row(cells: Sequence[str]) -> str:
    return f"<tr>{_html('td', cells)}</tr>"


def _html(tag: str, texts: Iterable[str]) -> str:
    """Each text inside a tag, which may have attributes."""
    name = tag.partition(" ")[0]
    return "".join(f"<{tag}>{html.escape(text)}</{name}>" for text in texts)


def _latex(text: str) -> str:
    """The text with LaTeX's own characters escaped, and signs of numbers as signs."""
    return _SIGN.sub(lambda sign: f"${sign[0]}$", text.translate(_LATEX))


def _latex_row(cells: Sequence[str]) -> str:
    return rf"    {' & '.join(map(_latex, cells))} \\"


def _markdown_list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"|{'|'.join(cell.replace('|', '/') for cell in cells)}|"


def _pad(cell: str, width: int) -> str:
    return cell.rjust(width) if _is_number(cell) else cell.ljust(width)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether a column is of numbers; a dash or nothing stands for one that is not there."""
    return all(_is_number(cell) or cell in ("", "-") for cell in cells)


def _is_number(cell: str) -> bool:
    digits = cell.strip().strip("+-").translate(_POINTS)
    return digits.isdigit()
