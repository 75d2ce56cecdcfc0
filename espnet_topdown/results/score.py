"""The error counts of one decoded set, as a value.

How they are counted is left to `espnet_topdown.results.scoring`, tables are
`espnet_topdown.results.tables`'s and significance `espnet_topdown.results.significance`'s.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from espnet_topdown.results.trn import Transcript

# Columns of the counts of an utterance.
SUBSTITUTIONS, DELETIONS, INSERTIONS, TIE, WORDS = range(5)


@dataclass(frozen=True, eq=False)
class Reference:
    """What is scored against: one for all scores against it.

    Args:
        names: ids of the utterances.
        speakers: who speaks, one an utterance.
        texts: the words, one an utterance.
    """

    names: tuple[str, ...]
    speakers: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, transcripts: Iterable[Transcript]) -> "Reference":
        """The reference that transcripts are."""
        refs = list(transcripts)
        return cls(
            names=tuple(transcript.utterance for transcript in refs),
            speakers=tuple(transcript.speaker for transcript in refs),
            texts=tuple(transcript.tokens for transcript in refs),
        )

    @cached_property
    def words(self) -> np.ndarray:
        """Words of every utterance, (utterances,)."""
        return np.array(list(map(len, self.texts)), dtype=np.int64)

    @cached_property
    def by_name(self) -> dict[str, tuple[str, ...]]:
        """Utterance -> its words."""
        return dict(zip(self.names, self.texts, strict=True))


@dataclass(frozen=True, eq=False)
class Score:
    """Error counts of one decoded set.

    Args:
        reference: of all utterances.
        counts: (utterances, 5) in the order of the reference: words replaced, words missed, words
            without a reference, whether best alignments differ in their number of errors, and the
            reference words that the hypothesis was scored against. Of alternatives one is; another
            scorer may count more or fewer than stand in `reference`.
    """

    reference: Reference
    counts: np.ndarray

    def _total(self, column: int) -> int:
        return int(self.counts[:, column].sum())

    @property
    def words_each(self) -> np.ndarray:
        """Reference words of every utterance, (utterances,)."""
        return self.counts[:, WORDS]

    @property
    def errors_each(self) -> np.ndarray:
        """Errors of every utterance, (utterances,)."""
        return self.counts[:, :TIE].sum(axis=1)

    def like(self, example: "Score") -> "Score":
        """The same with its utterances in the order of `example`."""
        if self.reference is example.reference:
            return self
        place = {name: row for row, name in enumerate(self.reference.names)}
        order = [place[name] for name in example.reference.names]
        return Score(example.reference, self.counts[order])

    @property
    def sentences(self) -> int:
        """Number of utterances."""
        return len(self.reference.names)

    @property
    def speakers(self) -> int:
        """Number of speakers."""
        return len(set(self.reference.speakers))

    @property
    def words(self) -> int:
        """Reference words."""
        return self._total(WORDS)

    @property
    def correct(self) -> int:
        """Reference words recognised."""
        return self.words - self.substitutions - self.deletions

    @property
    def substitutions(self) -> int:
        """Reference words replaced."""
        return self._total(SUBSTITUTIONS)

    @property
    def deletions(self) -> int:
        """Reference words missed."""
        return self._total(DELETIONS)

    @property
    def insertions(self) -> int:
        """Hypothesis words without a reference."""
        return self._total(INSERTIONS)

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def sentence_errors(self) -> int:
        """Utterances with at least one error."""
        return int(np.count_nonzero(self.errors_each))

    @property
    def ties(self) -> int:
        """Utterances whose best alignments differ in their number of errors."""
        return self._total(TIE)

    @property
    def err_rate(self) -> float:
        """Errors in percent of the reference words (total over total, not a mean of utterances)."""
        return 100 * self.errors / self.words if self.words else float("nan")

    def columns(self) -> tuple[str, ...]:
        """Snt, Wrd, Corr, Sub, Del, Ins, Err and S.Err as sclite prints them.

        "-" where there is no reference word.
        """
        counts = (self.correct, self.substitutions, self.deletions, self.insertions, self.errors)
        rates = [percent(count, self.words) for count in counts]
        sentence_rate = percent(self.sentence_errors, self.sentences)
        return (str(self.sentences), str(self.words), *rates, sentence_rate)


def percent(part: int, whole: int) -> str:
    """A part in percent to one decimal, halves up as sclite rounds; "-" of nothing."""
    if not whole:
        return "-"
    # Python would round halves to even. The order of these operations decides what is a half.
    return f"{math.floor(part / whole * 100 * 10 + 0.5) / 10:.1f}"
