"""Tables of text cells, as Markdown, aligned text or HTML: the only renderer of tables here."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


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
        parts = [f"## {self.heading}", "\n".join(lines)]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts)

    def terminal(self) -> str:
        """As text with aligned columns, its heading above and its notes below."""
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([self.heading, aligned(self.header, self.rows), *notes])

    def html(self, *, is_folded: bool = False) -> str:
        """As HTML, its heading above and its notes below; folded, the heading unfolds it."""
        heading = html.escape(self.heading)
        header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in self.header)
        rows = "".join(_html_row(cells) for cells in self.rows)
        table = f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
        body = f'<div class="scroll">{table}</div>'
        if self.notes:
            notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
            body += f"<ul>{notes}</ul>"
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
        parts = [f"# {self.title}"]
        if self.facts:
            parts.append("\n".join(f"- {fact}" for fact in self.facts))
        return "\n\n".join([*parts, *(t.markdown() for t in self.tables)]) + "\n"

    def terminal(self) -> str:
        """As text with aligned columns."""
        head = "\n".join([self.title, *(f"  {fact}" for fact in self.facts)])
        return "\n\n".join([head, *(t.terminal() for t in self.tables)]) + "\n"

    def json(self) -> str:
        """As JSON text."""
        return json.dumps(self.data, indent=1, ensure_ascii=False)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A header and rows of cells as text with aligned columns; numbers stand right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rules = ["-" * width for width in widths]
    lines = []
    for cells in (header, rules, *rows):
        padded = [_pad(cell, width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 speaker" or "20 speakers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _html_row(cells: Sequence[str]) -> str:
    columns = [f"<td>{html.escape(cell)}</td>" for cell in cells]
    return f"<tr>{''.join(columns)}</tr>"


def _markdown_row(cells: Sequence[str]) -> str:
    safe = [cell.replace("|", "/") for cell in cells]
    return f"|{'|'.join(safe)}|"


def _pad(cell: str, width: int) -> str:
    return cell.rjust(width) if _is_number(cell) else cell.ljust(width)


def _is_number(cell: str) -> bool:
    digits = cell.strip().strip("+-").replace(",", "").replace(".", "").replace("%", "")
    return digits.isdigit()
