"""Error rates of a study: its questions answered on one set over all seeds.

Hypotheses of the records in, contrasts out; which phases are compared is
`espnet_topdown.study.questions`'s part, the tables are those of `espnet_topdown.study.tables`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_topdown.results import significance
from espnet_topdown.results.scoring import Pair, Score, alignments, score
from espnet_topdown.results.trn import Transcript, speaker_of, tokens_of
from espnet_topdown.study.questions import PhasePair, questions
from espnet_topdown.study.records import Record, RecordedPhase

Interval = tuple[float, float]
PhaseKey = tuple[int, str]  # seed and name of a phase


@dataclass(frozen=True)
class Contrast:
    """One question and, over all seeds that can answer it, its answer on one set.

    Args:
        question: in words, "FIRST - SECOND".
        pairs: the compared phases, one pair a seed.
        rates: their error rates in percent.
        points: mean difference in percentage points, negative where the first is better.
        utterances: 95 % interval by resampling utterances, each with all its seeds.
        speakers: the same by resampling speakers.
        tests: a MAPSSWE for each pair.
    """

    question: str
    pairs: tuple[PhasePair, ...]
    rates: tuple[tuple[float, float], ...]
    points: float
    utterances: Interval
    speakers: Interval
    tests: tuple[significance.Mapsswe, ...]

    @property
    def verdict(self) -> str:
        """What both intervals say: "fewer errors" or "more errors", else "not shown"."""
        bounds = [*self.utterances, *self.speakers]
        if max(bounds) < 0:
            return "fewer errors"
        return "more errors" if min(bounds) > 0 else "not shown"


@dataclass(frozen=True)
class Decoded:
    """One phase on one set: its score, and its alignment of every utterance."""

    score: Score
    alignments: dict[str, str]

    @property
    def errors(self) -> np.ndarray:
        """Errors of every utterance, (utterances,), in the order of the reference."""
        return self.score.errors_each.astype(float)


def pairs_of(record: Record, phase: RecordedPhase, dataset: str) -> list[Pair]:
    """References and hypotheses of a phase on a set that it was decoded on."""
    heard = phase.hypotheses[dataset]
    pairs = []
    for name, reference in record.references[dataset].items():
        text = heard.get(name, reference)
        pairs.append((_transcript(name, reference), _transcript(name, text)))
    return pairs


def _transcript(utterance: str, text: str) -> Transcript:
    # Records keep the case; sclite folds it, and so does tokens_of.
    return Transcript(utterance, speaker_of(utterance), tokens_of(text))


def contrasts(records: Sequence[Record], dataset: str) -> list[Contrast]:
    """The answers to all questions that have one on `dataset`."""
    decoded = _decoded(records, dataset)
    answers = []
    for question, pairs in questions(records).items():
        answered = [pair for pair in pairs if decoded.keys() >= set(_keys(pair))]
        if answered:
            answers.append(_contrast(question, answered, decoded))
    return answers


def _decoded(records: Sequence[Record], dataset: str) -> dict[PhaseKey, Decoded]:
    """Every phase that was decoded on the set."""
    decoded = {}
    for record in records:
        for phase in record.phases:
            if dataset in phase.hypotheses:
                pairs = pairs_of(record, phase, dataset)
                decoded[record.seed, phase.name] = Decoded(score(pairs), alignments(pairs))
    return decoded


def _keys(pair: PhasePair) -> tuple[PhaseKey, PhaseKey]:
    first, second = pair.names
    return (pair.seed, first), (pair.seed, second)


def _contrast(
    question: str, pairs: Sequence[PhasePair], decoded: dict[PhaseKey, Decoded]
) -> Contrast:
    # Every phase was scored on the same utterances, in the order of the references.
    both = [(decoded[first], decoded[second]) for first, second in map(_keys, pairs)]
    reference = both[0][0].score.reference
    words = reference.words.astype(float)
    # The mean over seeds comes first, so that all seeds of an utterance are drawn together.
    errors = np.mean([first.errors - second.errors for first, second in both], axis=0)

    def interval(units: Sequence[str]) -> Interval:
        return significance.bootstrap_intervals(errors[:, None], words, units)[0]

    return Contrast(
        question=question,
        pairs=tuple(pairs),
        rates=tuple((first.score.err_rate, second.score.err_rate) for first, second in both),
        points=float(100 * errors.sum() / words.sum()),
        utterances=interval(reference.names),
        speakers=interval(reference.speakers),
        tests=tuple(significance.mapsswe(_aligned(first, second)) for first, second in both),
    )


def _aligned(first: Decoded, second: Decoded) -> Iterator[tuple[str, str]]:
    """Both alignments of every utterance."""
    for name, path in first.alignments.items():
        yield path, second.alignments[name]
