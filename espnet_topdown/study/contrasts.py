"""Error rates of a study on one set: its answers, and how far they depend on the test data.

Hypotheses of the records in, contrasts out. What holds over seeds is said by
`espnet_topdown.study.answers`, the tables are those of `espnet_topdown.study.tables`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from espnet_topdown.results import significance
from espnet_topdown.results.alignment import align
from espnet_topdown.results.compare import MANY_SPEAKERS
from espnet_topdown.results.kept import Decoded
from espnet_topdown.results.questions import Arm
from espnet_topdown.results.score import Score
from espnet_topdown.results.scoring import Pair, score
from espnet_topdown.results.trn import Transcript, speaker_of, tokens_of
from espnet_topdown.study.answers import Answer, Interval, Values, answers, scratch_values
from espnet_topdown.study.inference import Split
from espnet_topdown.study.records import Record, RecordedPhase

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
        words: (slots,) reference words.
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
            (record.seed, phase.name): pairs_of(record, phase, dataset)
            for record in records
            for phase in record.phases
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
            said = [(name, speaker) for name, speaker in zip(reference.names, reference.speakers)]
            units = [recording for name, _ in said for recording in recordings[name]]
            strata = [speaker for name, speaker in said for _ in recordings[name]]
            return Draw(RECORDINGS, units, strata, np.ones(len(units)))
        words = reference.words.astype(float)
        if len(set(reference.speakers)) >= MANY_SPEAKERS:
            return Draw(SPEAKERS, reference.speakers, None, words)
        return Draw(UTTERANCES, reference.names, reference.speakers, words)

    @cached_property
    def errors(self) -> dict[PhaseKey, np.ndarray]:
        """Errors of each phase in every slot of `draw`, (slots,)."""
        if self.draw.unit != RECORDINGS:
            return {key: score.errors_each.astype(float) for key, score in self.scores.items()}
        errors = {}
        for key, pairs in self.pairs.items():
            of_words = [_word_errors(said.tokens, heard.tokens) for said, heard in pairs]
            errors[key] = np.array([error for words in of_words for error in words], dtype=float)
        return errors

    def contrasts(self) -> list[Contrast]:
        """The answers to all questions that have one, with what the test data leave open."""
        found = answers(self.records, self.values, self.name)
        if not found:
            return []
        columns = [self._difference(answer) for answer in found]
        intervals = significance.bootstrap_intervals(
            np.column_stack(columns), self.draw.words, self.draw.units, strata=self.draw.strata
        )
        return [
            Contrast(answer, interval, self._by_speaker(column))
            for answer, column, interval in zip(found, columns, intervals, strict=True)
        ]

    def _difference(self, answer: Answer) -> np.ndarray:
        """Errors of the first minus those of the second arm, (slots,), as the mean over seeds.

        One column, so that a resample draws a slot with all its seeds.
        """
        differences = []
        for pair in answer.pairs:
            first, second = (self._of_arm(pair.seed, arm) for arm in (pair.first, pair.second))
            differences.append(first - second)
        mean: np.ndarray = np.mean(differences, axis=0)
        return mean

    def _of_arm(self, seed: int, arm: Arm) -> np.ndarray:
        mean: np.ndarray = np.mean([self.errors[seed, phase.name] for phase in arm], axis=0)
        return mean

    def _by_speaker(self, column: np.ndarray) -> dict[str, float]:
        if self.draw.strata is None:
            return {}
        owners = np.asarray(self.draw.strata)
        points = {}
        for speaker in sorted(set(self.draw.strata)):
            own = owners == speaker
            points[speaker] = float(100 * column[own].sum() / self.draw.words[own].sum())
        return points

    def null_rate_of_test_data(self, split: Split, resamples: int = 1000) -> float:
        """How often resampled test data call groups of equal runs different.

        Args:
            split: of the runs from scratch.
            resamples: fewer than for a table, as this is a rate over many draws.
        """
        runs = [self.errors[key] for key in scratch_values(self.records, self.values)]
        errors = np.array(runs)
        differences = errors[split.first].mean(axis=1) - errors[split.second].mean(axis=1)
        intervals = significance.bootstrap_intervals(
            differences.T,
            self.draw.words,
            self.draw.units,
            strata=self.draw.strata,
            resamples=resamples,
        )
        return float(np.mean([low > 0 or high < 0 for low, high in intervals]))


def pairs_of(record: Record, phase: RecordedPhase, dataset: str) -> list[Pair]:
    """References and hypotheses of a phase on a set that it was decoded on."""
    heard = phase.hypotheses[dataset]
    pairs = []
    for name, reference in record.references[dataset].items():
        text = heard.get(name, reference)
        pairs.append((_transcript(name, reference), _transcript(name, text)))
    return pairs


@cache
def _word_errors(said: tuple[str, ...], heard: tuple[str, ...]) -> list[int]:
    return significance.word_errors(align(said, heard))


# The phases of a study hear most utterances alike.
@cache
def _transcript(utterance: str, text: str) -> Transcript:
    # Records keep the case; sclite folds it, and so does tokens_of.
    return Transcript(utterance, speaker_of(utterance), tokens_of(text))
