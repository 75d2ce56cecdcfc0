"""Alternatives in references, ``a { b / c d / @ } e``: those that a hypothesis is scored against.

sclite reads them wherever a word begins with a brace; what it cannot read (it fails, or loses the
rest of the line) is no alternative here and stays as it is written.
"""

import re
from collections.abc import Sequence

from espnet_topdown.results.alignment import INDEL, SUBSTITUTION

EMPTY = "@"  # stands for no word
# The brace or the word that stands next, outside and inside of braces, and what ends alternatives.
_WORD = re.compile(r" *(\{|[^ ]+)")
_INNER_WORD = re.compile(r" *(\{|[^ /}]+)")
_ENDING = re.compile(r" *([/}])")
Options = list["Items"]
Items = list[str | Options]  # words, and at some places one of several sequences of them


def parse(text: str) -> Items | None:
    """The words and alternatives of a text, None where its braces make no alternatives.

    Source: observed of sclite 2.4.10. Inside braces slashes and closing braces part words without
    blanks too; an alternative without words is passed over, one that is ``@`` is not.
    """
    try:
        items, _ = _sequence(text, 0, _WORD)
    except ValueError:
        return None
    return items


def _sequence(text: str, at: int, word: re.Pattern[str]) -> tuple[Items, int]:
    """Words, as `word` finds them, and alternatives from a place on, and the place behind them."""
    items: Items = []
    while found := word.match(text, at):
        at = found.end()
        if found[1] == "{":
            options, at = _options(text, at)
            items.append(options)
        elif "{" in found[1]:
            raise ValueError("a brace inside a word")
        else:
            items.append(found[1])
    return items, at


def _options(text: str, at: int) -> tuple[Options, int]:
    """The alternatives behind an opening brace, and the place behind the closing one."""
    options: Options = []
    ending = "/"
    while ending != "}":
        items, at = _sequence(text, at, _INNER_WORD)
        end = _ENDING.match(text, at)
        if end is None:
            raise ValueError("no closing brace")
        if items:
            options.append(items)
        at, ending = end.end(), end[1]
    if not options:
        raise ValueError("no alternative between braces")
    # Of equals the first is chosen, and one of no words last.
    return sorted(options, key=lambda items: items == [EMPTY]), at


Route = tuple["Route", str] | None  # through the alternatives: its words, the last one first
Cell = tuple[int, Route]  # least cost of aligning a route with the first words of `hyp`, and that


def chosen(items: Items, hyp: Sequence[str]) -> tuple[str, ...]:
    """The words of the alternatives that align with `hyp` at the least cost.

    Of equals the first is taken. sclite settles about 3 such ties in 1,000 otherwise, at the same
    cost.
    """
    row: list[Cell] = [(INDEL * place, None) for place in range(len(hyp) + 1)]
    _, route = _follow(items, row, hyp)[-1]
    words: list[str] = []
    while route is not None:
        route, word = route
        words.append(word)
    return tuple(reversed(words))


def _follow(items: Items, row: list[Cell], hyp: Sequence[str]) -> list[Cell]:
    for item in items:
        if item == EMPTY:
            continue
        # `row`: the least cost of each beginning of `hyp` by now.
        if isinstance(item, str):
            row = _after_word(item, row, hyp)
            continue
        ends = [_follow(option, row, hyp) for option in item]
        row = [min(cells, key=_cost) for cells in zip(*ends, strict=True)]
    return row


def _after_word(word: str, row: list[Cell], hyp: Sequence[str]) -> list[Cell]:
    """The least costs with `word` in the reference too."""
    cost, route = row[0]
    after: list[Cell] = [(cost + INDEL, (route, word))]
    for place, hyp_word in enumerate(hyp):
        diagonal, deleted = row[place], row[place + 1]
        cells = [
            (diagonal[0] + (0 if hyp_word == word else SUBSTITUTION), (diagonal[1], word)),
            (after[place][0] + INDEL, after[place][1]),
            (deleted[0] + INDEL, (deleted[1], word)),
        ]
        after.append(min(cells, key=_cost))
    return after


def _cost(cell: Cell) -> int:
    return cell[0]
