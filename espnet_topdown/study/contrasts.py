"""Error rates of a study on one set: its answers, and how far they depend on the test data.

Hypotheses of the records in, contrasts out. What holds over seeds is said by
`espnet_topdown.study.answers`, the tables are those of `espnet_topdown.study.tables`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain

import numpy as np

from espnet_topdown.results import significance
from espnet_topdown.results.alignment import align
from espnet_topdown.results.cache import Decoded
from espnet_topdown.results.compare import MANY_SPEAKERS
from espnet_topdown.results.score import Score
from espnet_topdown.results.scoring import Pair, score
from espnet_topdown.results.trn import Transcript, speaker_of, tokens_of
from espnet_topdown.study.analysis import asked_sets
from espnet_topdown.study.answers import (
    Answer,
    Interval,
    Values,
    answers,
    scratch_values,
)
from espnet_topdown.study.inference import DIGITS, Split
from espnet_topdown.study.records import Record, RecordedPhase, by_key

PhaseKey = tuple[int, str]  # seed and name of a phase

RECORDINGS = "recordings"
UTTERANCES = "utterances"
SPEAKERS = "speakers"


@dataclass(frozen=True)
class Contrast:
    """One answer, and what other test data would change in it.

    Args:
        answer: over seeds.
        test_data: 95 % interval of the mean difference, in percentage points, by resampling the
            test data with the trained models as they are.
        by_speaker: the mean difference on each speaker; none where speakers are resampled.
    """

    answer: Answer
    test_data: Interval
    by_speaker: Mapping[str, float]


@dataclass(frozen=True)
class Draw:
    """What the bootstrap draws of a set, one name a slot; a slot is an utterance or a word.

    Args:
        unit: what is drawn: recordings, utterances or speakers.
        units: its name, of each slot.
        strata: speakers within whom it is drawn, of each slot; None: speakers are drawn.
        words: reference words, (slots,), or (slots, runs) in the order of the scores.
    """

    unit: str
    units: Sequence[str]
    strata: Sequence[str] | None
    words: np.ndarray


class ErrorRates:
    """All phases of a study that were decoded on one set."""

    def __init__(self, records: Sequence[Record], dataset: str) -> None:
        self.records = records
        self.name = dataset.rpartition("/")[2]
        self.pairs: Mapping[PhaseKey, Sequence[Pair]] = {
            key: pairs_of(records[0], phase, dataset)
            for key, phase in by_key(records).items()
            if dataset in phase.hypotheses
        }
        self.scores: Mapping[PhaseKey, Score] = {key: score(of) for key, of in self.pairs.items()}

    @property
    def values(self) -> Values:
        """Error rates in percent."""
        return {key: score.err_rate for key, score in self.scores.items()}

    def decoded(self, seed: int, name: str) -> Decoded:
        """A phase as comparisons of cascades take it."""
        pairs = self.pairs[seed, name]
        return Decoded(self.scores[seed, name], lambda: pairs)

    @cached_property
    def draw(self) -> Draw:
        """What the bootstrap draws."""
        reference = next(iter(self.scores.values())).reference
        recordings = self.records[0].recordings.get(self.name)
        if recordings is not None:
            # Several strings were made of one recording: drawn alone, they would seem independent.
            of_utterances = [recordings[name] for name in reference.names]
            units = list(chain.from_iterable(of_utterances))
            strata = np.repeat(reference.speakers, list(map(len, of_utterances))).tolist()
            return Draw(RECORDINGS, units, strata, np.ones(len(units)))
        # What was scored: of alternatives one, by each run its own.
        words = np.column_stack([score.words_each for score in self.scores.values()])
        if len(set(reference.speakers)) >= MANY_SPEAKERS:
            return Draw(SPEAKERS, reference.speakers, None, words)
        return Draw(UTTERANCES, reference.names, reference.speakers, words)

    @cached_property
    def errors(self) -> np.ndarray:
        """Errors of each run in every slot of `draw`, (slots, runs) in the order of `scores`."""
        if self.draw.unit != RECORDINGS:
            return np.column_stack([score.errors_each for score in self.scores.values()])
        runs = []
        for pairs in self.pairs.values():
            of_words = [_word_errors(ref.tokens, hyp.tokens) for ref, hyp in pairs]
            runs.append(np.concatenate(of_words))
        return np.column_stack(runs)

    def contrasts(self) -> list[Contrast]:
        """The answers to all questions that have one, with what the test data leave open."""
        found = answers(self.records, self.values, self.name)
        if not found:
            return []
        weights = np.column_stack(list(map(self._weights, found)))
        intervals = self._intervals(weights)
        by_speaker = [self._by_speaker(column) for column in weights.T]
        return [Contrast(*parts) for parts in zip(found, intervals, by_speaker, strict=True)]

    def _weights(self, answer: Answer) -> np.ndarray:
        """Of each run in the mean over seeds of first minus second arm, (runs,)."""
        weights = dict.fromkeys(self.scores, 0.0)
        for pair in answer.pairs:
            for sign, arm in ((1, pair.first), (-1, pair.second)):
                for phase in arm:
                    weights[pair.seed, phase.name] += sign / len(arm) / len(answer.pairs)
        return np.array(list(weights.values()))

    def _intervals(self, weights: np.ndarray, **options: int) -> list[Interval]:
        draw = self.draw
        return significance.bootstrap_intervals(
            self.errors, draw.words, draw.units, weights=weights, strata=draw.strata, **options
        )

    def _by_speaker(self, weights: np.ndarray) -> dict[str, float]:
        if self.draw.strata is None:
            return {}
        owners = np.asarray(self.draw.strata)
        points = {}
        for speaker in sorted(set(self.draw.strata)):
            own = owners == speaker
            words = self.draw.words[own].sum(axis=0)
            # Who said nothing has no error rate.
            if np.all(words):
                rates = 100 * self.errors[own].sum(axis=0) / words
                # Weights are thirds and the like; and no zero is below zero.
                points[speaker] = round(float(rates @ weights), DIGITS) + 0.0
        return points

    def null_rate_of_test_data(self, split: Split, resamples: int = 1000) -> float:
        """How often resampled test data call groups of equal runs different.

        Args:
            split: of the runs from scratch.
            resamples: fewer than for a table, as this is a rate over many draws.
        """
        runs = list(self.scores)
        scratch = [runs.index(key) for key in scratch_values(self.records, self.values)]
        draws, seeds = split.first.shape
        of_scratch = np.zeros((draws, len(scratch)))
        np.put_along_axis(of_scratch, split.first, 1 / seeds, axis=1)
        np.put_along_axis(of_scratch, split.second, -1 / seeds, axis=1)
        weights = np.zeros((len(runs), draws))
        weights[scratch] = of_scratch.T
        low, high = np.array(self._intervals(weights, resamples=resamples)).T
        return float(np.mean((low > 0) | (high < 0)))


def spoken_sets(records: Sequence[Record]) -> list[str]:
    """The sets in which words were said, in the order of a plan of analysis.

    On another there are no error rates.
    """
    spoken = [name for name, texts in records[0].references.items() if any(texts.values())]
    planned = records[0].analysis
    asked = [] if planned is None else asked_sets(planned)
    places = {name: place for place, name in enumerate(asked)}
    return sorted(spoken, key=lambda name: places.get(name.rpartition("/")[2], len(places)))


def pairs_of(record: Record, phase: RecordedPhase, dataset: str) -> list[Pair]:
    """References and hypotheses of a phase on a set that it was decoded on."""
    hypotheses = phase.hypotheses[dataset]
    counted = phase.counted.get(dataset, {})
    speakers = record.speakers.get(dataset, {})
    pairs = []
    for name, reference in record.references[dataset].items():
        speaker = speakers.get(name) or speaker_of(name)
        heard = transcript(name, hypotheses.get(name, reference), speaker)
        if name in counted:
            heard = replace(heard, outside=counted[name])
        pairs.append((transcript(name, reference, speaker), heard))
    return pairs


@cache
def _word_errors(ref: tuple[str, ...], hyp: tuple[str, ...]) -> list[int]:
    return significance.word_errors(align(ref, hyp))


# The phases of a study hear most utterances alike.
@cache
def transcript(utterance: str, text: str, speaker: str) -> Transcript:
    """An utterance of a record, which keeps the case; sclite folds it, and so does `tokens_of`."""
    return Transcript(utterance, speaker, tokens_of(text))
