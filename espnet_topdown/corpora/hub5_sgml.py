"""What hubscr made of each segment: sclite's sgml report, told by words of one reference.

Which spelling of a contraction the reference has (``he is``, ``he has``, ``he's``) is decided by
what a system said, so that two systems' reports differ in their references, and may differ in the
number of words. Systems are compared on one text: that of each first alternative.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.corpora.lists import numbered_entries, read_lines
from espnet_topdown.errors import TopdownError
from espnet_topdown.results.outside import Outside

_ATTRIBUTE = re.compile(r'(\w+)="(.*?)"(?=[ >])')
# kind,"reference","hypothesis",times; a side that an insertion or deletion lacks has no quotes. A
# word may hold quotes, commas and colons: only a quote before a comma or the end closes it.
_STEP = re.compile(r'([CSDI]),(?:"(.*?)")?,(?:"(.*?)")?,[^":]*(?::(?=[CSDI],)|$)')
_LABELS = re.compile(r"^<\S+")
_NO_WORD = ("", "@")
# Kind of a step, reference, hypothesis.
Step = tuple[str, str, str]
# Alternatives of a stretch of the reference, each some words.
Unit = list[tuple[str, ...]]
Place = tuple[str, str, float, float]  # file, channel, begin, end


class Aligned(NamedTuple):
    """One segment as hubscr aligned it.

    Attributes:
        name: its id, which begins with that of the recording.
        reference: words, each alternation as the first of its alternatives.
        hypothesis: words; where it has one of the alternatives, it has the first.
        outcome: hubscr's counts, and its alignment with the words of `reference`.
    """

    name: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    outcome: Outside


def read_alignments(sgml: Path, references: Path) -> list[Aligned]:
    """Every segment of sclite's sgml report; an optional word that is left out counts as right.

    Args:
        sgml: the report.
        references: the stm that sclite read, with ``{ a / b }`` where the glm has alternatives.

    Raises:
        TopdownError: a line of the report cannot be read.
    """
    units = read_units(references)
    segments = []
    attributes: dict[str, str] = {}
    for line in read_lines(sgml):
        if line.startswith(("<PATH ", "</PATH")):
            attributes = dict(_ATTRIBUTE.findall(line))
        elif attributes and not line.startswith("<"):
            segments.append(_read_segment(sgml, attributes, line, units))
    return segments


def _read_segment(
    sgml: Path, attributes: Mapping[str, str], line: str, units: Mapping[Place, list[Unit]]
) -> Aligned:
    name = attributes["id"].strip("()")
    steps: list[Step] = _STEP.findall(line)
    if len(steps) != int(attributes["word_cnt"]):
        raise TopdownError(
            f"{sgml}: segment {name} has {attributes['word_cnt']} aligned words, found"
            f" {len(steps)} in {line[:80]!r}"
        )
    return _on_first_alternatives(name, steps, units.get(_place(attributes), []))


def _place(attributes: Mapping[str, str]) -> Place:
    file, channel = attributes["file"].lower(), attributes["channel"].lower()
    return file, channel, float(attributes["R_T1"]), float(attributes["R_T2"])


def read_units(stm: Path) -> dict[Place, list[Unit]]:
    """The alternatives of every segment of an stm, in lower case, by its place."""
    units = {}
    for _, line in numbered_entries(stm, comment=";;"):
        file, channel, _, start_s, end_s, *words = line.lower().split()
        place = file, channel, float(start_s), float(end_s)
        units[place] = units_of(_LABELS.sub("", " ".join(words)))
    return units


def units_of(words: str) -> list[Unit]:
    """The stretches of a reference; a word outside of braces is one, with a single alternative."""
    units = []
    for braced, word in re.findall(r"\{(.*?)\}|([^\s{}]+)", words):
        alternatives = braced.split(" / ") if braced else [word]
        units.append([_plain(alternative.split()) for alternative in alternatives])
    return units


def _plain(words: Iterable[str]) -> tuple[str, ...]:
    """Words without the brackets of optional ones."""
    bare = (word.strip("()") for word in words)
    return tuple(word for word in bare if word not in _NO_WORD)


def _on_first_alternatives(name: str, steps: Sequence[Step], units: Sequence[Unit]) -> Aligned:
    kinds = "".join(kind for kind, _, _ in steps)
    spoken = _plain(reference for _, reference, _ in steps)
    chosen = _chosen(units, spoken)
    if chosen is None:
        # Braces within braces, or another text: the alternatives that sclite took stand for all.
        units = [[(word,)] for word in spoken]
        chosen = [(word,) for word in spoken]
    reference: list[str] = []
    hypothesis: list[str] = []
    path = ""
    rest = list(steps)
    for unit, alternative in zip(units, chosen, strict=True):
        own = _take(rest, len(alternative))
        reference += unit[0]
        hypothesis += _heard(own, unit[0])
        path += _path("".join(kind for kind, _, _ in own), alternative, unit[0])
    # Whatever is left are insertions after the last word.
    hypothesis += _heard(rest, ())
    path += "I" * len(rest)
    outcome = Outside(
        correct=kinds.count("C"),
        substitutions=kinds.count("S"),
        deletions=kinds.count("D"),
        insertions=kinds.count("I"),
        path=path,
    )
    return Aligned(name, tuple(reference), tuple(hypothesis), outcome)


def _take(rest: list[Step], words: int) -> list[Step]:
    """Take the steps up to and with the next `words` reference words off the front of `rest`."""
    taken: list[Step] = []
    while words:
        step = rest.pop(0)
        taken.append(step)
        words -= len(_plain([step[1]]))
    return taken


def _chosen(units: Sequence[Unit], spoken: tuple[str, ...]) -> list[tuple[str, ...]] | None:
    """The alternative of each unit that together are `spoken`; None where none are."""
    # Place in `spoken` that can be reached -> the alternatives on the way there.
    ways: dict[int, list[tuple[str, ...]]] = {0: []}
    for unit in units:
        further: dict[int, list[tuple[str, ...]]] = {}
        for at, alternative in product(ways, unit):
            end = at + len(alternative)
            if spoken[at:end] == alternative:
                further.setdefault(end, [*ways[at], alternative])
        ways = further
    return ways.get(len(spoken))


def _heard(steps: Sequence[Step], first: tuple[str, ...]) -> tuple[str, ...]:
    """The words of the hypothesis; those of `first` where all that was said was recognised."""
    if all(kind in "CI" for kind, _, _ in steps):
        return (*_plain(heard for kind, _, heard in steps if kind == "I"), *first)
    # An optional word that is left out is right, and so in the hypothesis.
    return _plain(spoken if kind == "C" else heard for kind, spoken, heard in steps)


def _path(kinds: str, alternative: tuple[str, ...], first: tuple[str, ...]) -> str:
    """The steps told of the words of `first`, with as many errors."""
    if len(alternative) == len(first):
        return kinds
    errors = len(kinds) - kinds.count("C")
    wrong = min(errors, len(first))
    return "I" * (errors - wrong) + "S" * wrong + "C" * (len(first) - wrong)
