"""Hypotheses as edits of their references, the short form in which records keep them.

An edit names a place in the reference, counted from 0, and what was heard there: ``3:five`` is
another word, ``3:`` is none, and ``3+five`` is one word more before it.
"""

import re

from espnet_topdown.results.alignment import align
from espnet_topdown.results.trn import tokens_of

EDIT = re.compile(r"(\d+)([:+])(.*)")


def edits_of(reference: str, text: str) -> str:
    """The edits that turn `reference` into `text`, along sclite's alignment; "" for equal texts.

    Both are tokens parted by single blanks, as `espnet_topdown.results.trn` reads them.
    """
    # Read as scores read them, but for the case, which some later score may keep.
    spoken = tokens_of(reference, case_sensitive=True)
    heard = tokens_of(text, case_sensitive=True)
    words = iter(heard)
    edits = []
    place = 0
    for step in align(spoken, heard):
        if step == "I":
            edits.append(f"{place}+{next(words)}")
            continue
        word = "" if step == "D" else next(words)
        if step != "C":
            edits.append(f"{place}:{word}")
        place += 1
    return " ".join(edits)


def edited(reference: str, edits: str) -> str:
    """The text that `edits` make of `reference`.

    Raises:
        ValueError: an edit is damaged, or its place is not in the reference.
    """
    words = list(tokens_of(reference, case_sensitive=True))
    # Backwards, so that the places of the edits still to come stay right.
    for edit in reversed(edits.split(" ")):
        match = EDIT.fullmatch(edit)
        if match is None or int(match[1]) > len(words):
            raise ValueError(f"'{edit}' is no edit of '{reference}'")
        start = int(match[1])
        end = start + 1 if match[2] == ":" else start
        words[start:end] = [match[3]] if match[3] else []
    return " ".join(words)
