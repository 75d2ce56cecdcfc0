"""Hypotheses as edits of their references, the short form in which records keep them.

An edit names a place in the reference, counted from 0, and what was heard there: ``3:five`` is
another word, ``3:`` is none, and ``3+five`` is one word more before it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from espnet_topdown.grouping import grouped
from espnet_topdown.results.alignment import align
from espnet_topdown.study.records import RecordedPhase, Texts

# Place of an utterance -> edits -> places of the phases that heard it so.
Misheard = dict[str, dict[str, list[int]]]

EDIT = re.compile(r"(\d+)([:+])(.*)")
# Words of the reference that stand at each mark of an edit.
WORDS = {":": 1, "+": 0}


def edits_of(reference: str, text: str) -> str:
    """The edits that turn `reference` into `text`, along sclite's alignment; "" for equal texts.

    Both are tokens parted by single blanks, as `espnet_topdown.results.trn` reads them.
    """
    ref, hyp = _words(reference), _words(text)
    words = iter(hyp)
    edits = []
    place = 0
    for step in align(ref, hyp):
        word = "" if step == "D" else next(words)
        mark = "+" if step == "I" else ":"
        if step != "C":
            edits.append(f"{place}{mark}{word}")
        place += WORDS[mark]
    return " ".join(edits)


def edited(reference: str, edits: str) -> str:
    """The text that `edits` make of `reference`.

    Raises:
        ValueError: an edit is damaged, or its place is not in the reference.
    """
    words = _words(reference)
    # Backwards, so that the places of the edits still to come stay right.
    for edit in reversed(edits.split(" ")):
        match = EDIT.fullmatch(edit)
        if match is None or int(match[1]) > len(words):
            raise ValueError(f"'{edit}' is no edit of '{reference}'")
        start = int(match[1])
        end = start + WORDS[match[2]]
        words[start:end] = filter(None, [match[3]])
    return " ".join(words)


def _words(text: str) -> list[str]:
    # Not read as a trn a second time: what is left of x\;y there is x;y, a word with a tag.
    return text.split(" ") if text else []


def hypotheses_of(
    stored: Mapping[str, Any], references: Mapping[str, Texts]
) -> list[dict[str, dict[str, str]]]:
    """What each phase heard on each set, where that differs from the reference.

    Args:
        stored: a record as its file has it.
        references: set -> utterance -> text.

    Raises:
        LookupError: a set, an utterance or a phase is not there.
        ValueError: as `edited`.
    """
    phases: list[dict[str, dict[str, str]]] = [
        {dataset: {} for dataset in phase["decoded"]} for phase in stored["phases"]
    ]
    for dataset, utterances in stored["misheard"].items():
        names = list(references[dataset])
        for number, phases_by_edits in utterances.items():
            name = names[int(number)]
            for edits, places in phases_by_edits.items():
                text = edited(references[dataset][name], edits)
                for place in places:
                    phases[place][dataset][name] = text
    return phases


def misheard_of(phases: Sequence[RecordedPhase], dataset: str, references: Texts) -> Misheard:
    """What the phases that were decoded on a set heard otherwise than its reference."""
    # Only what differs from its reference is there.
    texts = {n: phase.hypotheses.get(dataset, {}) for n, phase in enumerate(phases)}
    misheard: Misheard = {}
    for number, (name, reference) in enumerate(references.items()):
        edits = {
            n: edits_of(reference, own[name])
            for n, own in texts.items()
            if own.get(name, reference) != reference
        }
        if edits:
            misheard[str(number)] = grouped(edits, edits.__getitem__)
    return misheard
