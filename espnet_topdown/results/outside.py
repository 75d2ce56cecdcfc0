"""Counts that another scorer made of a decoded set, kept beside its ref.trn and hyp.trn.

A scorer with rules of its own (hubscr) takes another of several equally cheap alignments than
sclite does of the same two texts. Where such counts are there, they are the set's.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text

NAME = "outside.tsv"
_HEADER = "utterance\tcorrect\tsubstituted\tdeleted\tinserted\talignment"


class Outside(NamedTuple):
    """Another scorer's view of one utterance.

    Attributes:
        correct: words recognised.
        substitutions: words replaced.
        deletions: words missed.
        insertions: words without a reference.
        path: steps C, S, D and I along the words of ref.trn. Its errors are those of the counts,
            its words may be fewer or more, since that scorer's reference may have been another
            spelling of the same.
    """

    correct: int
    substitutions: int
    deletions: int
    insertions: int
    path: str


def write_outside(directory: Path, outcomes: Mapping[str, Outside]) -> None:
    """Write the counts of all utterances beside ref.trn and hyp.trn in `directory`."""
    lines = [_HEADER]
    for utterance, outcome in outcomes.items():
        lines.append("\t".join([utterance, *map(str, outcome)]))
    write_text(directory / NAME, "".join(f"{line}\n" for line in lines))


def read_outside(directory: Path, utterances: Iterable[str]) -> dict[str, Outside]:
    """Counts by utterance id; none where no other scorer left any.

    Args:
        directory: with ref.trn and hyp.trn.
        utterances: the ids in these.

    Raises:
        TopdownError: the counts are of other utterances, or a line cannot be read.
    """
    path = directory / NAME
    if not path.exists():
        return {}
    outcomes = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[1:-1], 2):
        try:
            name, correct, substitutions, deletions, insertions, steps = line.split("\t")
            counts = (int(correct), int(substitutions), int(deletions), int(insertions))
        except ValueError:
            raise TopdownError(
                f"{path}, line {number}: expected an id, four counts and an alignment, found"
                f" {line[:80]!r}; score again (stage 13)"
            ) from None
        outcomes[name] = Outside(*counts, path=steps)
    if outcomes.keys() != set(utterances):
        raise TopdownError(
            f"{path} counts other utterances than ref.trn beside it has; score again (stage 13)"
        )
    return outcomes
