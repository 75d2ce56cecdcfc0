"""Error counts of decoded sets, equal to sclite's.

Files are read at the edge, in `read_pairs` and `read_decoded`; what counts takes values. Tables are
left to `espnet_topdown.results.tables`, significance to `espnet_topdown.results.significance`.
"""

import logging
import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text
from espnet_topdown.results.alignment import align, is_tie
from espnet_topdown.results.alternatives import chosen
from espnet_topdown.results.outside import read_outside
from espnet_topdown.results.trn import Transcript, read_trn

METRICS = ("wer", "cer", "ter")
Pair = tuple[Transcript, Transcript]  # reference, hypothesis
Key = tuple[str, str, str]  # inference directory, data set, metric


@dataclass(frozen=True)
class Utterance:
    """Error counts of one utterance.

    Args:
        name: its id, as between the brackets of a trn file.
        speaker: who speaks.
        reference: the words said, alternatives as they are written.
        correct: reference words recognised.
        substitutions: reference words replaced.
        deletions: reference words missed.
        insertions: hypothesis words without a reference.
        tie: whether best alignments differ in their number of errors.
    """

    name: str
    speaker: str
    reference: tuple[str, ...]
    correct: int
    substitutions: int
    deletions: int
    insertions: int
    tie: bool

    @property
    def words(self) -> int:
        """Reference words that the hypothesis was scored against.

        Of alternatives one is; another scorer may count more or fewer than stand in `reference`.
        """
        return self.correct + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Score:
    """Error counts of one decoded set: utterances in the order of the reference, and totals."""

    utterances: tuple[Utterance, ...]

    def _total(self, count: str) -> int:
        return sum(getattr(utterance, count) for utterance in self.utterances)

    @property
    def sentences(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    @cached_property
    def speakers(self) -> int:
        """Number of speakers."""
        return len({utterance.speaker for utterance in self.utterances})

    @cached_property
    def words(self) -> int:
        """Reference words."""
        return self._total("words")

    @cached_property
    def correct(self) -> int:
        """Reference words recognised."""
        return self._total("correct")

    @cached_property
    def substitutions(self) -> int:
        """Reference words replaced."""
        return self._total("substitutions")

    @cached_property
    def deletions(self) -> int:
        """Reference words missed."""
        return self._total("deletions")

    @cached_property
    def insertions(self) -> int:
        """Hypothesis words without a reference."""
        return self._total("insertions")

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @cached_property
    def sentence_errors(self) -> int:
        """Utterances with at least one error."""
        return sum(utterance.errors > 0 for utterance in self.utterances)

    @cached_property
    def ties(self) -> int:
        """Utterances whose best alignments differ in their number of errors."""
        return self._total("tie")

    @property
    def err_rate(self) -> float:
        """Errors in percent of the reference words (total over total, not a mean of utterances)."""
        return 100 * self.errors / self.words if self.words else float("nan")

    def columns(self) -> tuple[str, ...]:
        """Snt, Wrd, Corr, Sub, Del, Ins, Err and S.Err as sclite prints them.

        "-" where there is no reference word.
        """
        counts = (self.correct, self.substitutions, self.deletions, self.insertions, self.errors)
        rates = [_percent(count, self.words) for count in counts]
        sentence_rate = _percent(self.sentence_errors, self.sentences)
        return (str(self.sentences), str(self.words), *rates, sentence_rate)


def _percent(part: int, whole: int) -> str:
    """One decimal, halves up as sclite rounds; "-" of nothing."""
    if not whole:
        return "-"
    # Python would round halves to even. The order of these operations decides what is a half.
    return f"{math.floor(part / whole * 100 * 10 + 0.5) / 10:.1f}"


def score(pairs: Sequence[Pair]) -> Score:
    """Error counts, equal to those of ``sclite -i rm``."""
    return Score(tuple(_count(ref, hyp) for ref, hyp in pairs))


def alignments(pairs: Sequence[Pair]) -> dict[str, str]:
    """The alignment of every utterance, by id: that of another scorer, else sclite's (`align`)."""
    paths = {}
    for ref, hyp in pairs:
        outside = hyp.outside
        paths[ref.utterance] = outside.path if outside else align(_said(ref, hyp), hyp.tokens)
    return paths


def _said(ref: Transcript, hyp: Transcript) -> tuple[str, ...]:
    """The words that a hypothesis is scored against."""
    return chosen(ref.alternatives, hyp.tokens) if ref.alternatives else ref.tokens


def _count(ref: Transcript, hyp: Transcript) -> Utterance:
    """Counts by kaldialign, and by sclite's preference where costs leave the number open."""
    outside = hyp.outside
    if outside:
        return Utterance(
            name=ref.utterance,
            speaker=ref.speaker,
            reference=ref.tokens,
            correct=outside.correct,
            substitutions=outside.substitutions,
            deletions=outside.deletions,
            insertions=outside.insertions,
            tie=False,
        )
    import kaldialign

    said = _said(ref, hyp)
    counts = kaldialign.edit_distance(said, hyp.tokens, sclite_mode=True)
    substitutions, deletions, insertions = counts["sub"], counts["del"], counts["ins"]
    # 3 substitutions cost as much as 2 insertions and 2 deletions: with fewer there is no tie.
    may_tie = substitutions >= 3 or min(deletions, insertions) >= 2
    tie = may_tie and is_tie(said, hyp.tokens)
    if tie:
        path = align(said, hyp.tokens)
        substitutions, deletions, insertions = map(path.count, "SDI")
    return Utterance(
        name=ref.utterance,
        speaker=ref.speaker,
        reference=ref.tokens,
        correct=len(said) - int(substitutions) - int(deletions),
        substitutions=int(substitutions),
        deletions=int(deletions),
        insertions=int(insertions),
        tie=tie,
    )


def read_pairs(ref: Path, hyp: Path, *, case_sensitive: bool = False) -> list[Pair]:
    """Reference and hypothesis of every utterance, in the order of `ref`.

    Args:
        ref: a trn file.
        hyp: another, with the same utterances; sclite drops unmatched ones in silence.
        case_sensitive: sclite's ``-s``.

    Raises:
        TopdownError: a file cannot be read, the two do not hold the same utterances, or the
            reference has no word.
    """
    # Characters and subwords are no words that have alternatives, whatever they look like.
    is_of_words = ref.parent.name not in ("score_cer", "score_ter")
    refs = read_trn(ref, case_sensitive=case_sensitive, alternatives=is_of_words)
    hyps = read_trn(hyp, case_sensitive=case_sensitive)
    _check_complete(hyp, hyps.keys(), ref, refs.keys())
    _check_complete(ref, refs.keys(), hyp, hyps.keys())
    if not any(transcript.tokens for transcript in refs.values()):
        raise TopdownError(
            f"{ref}: its transcripts hold no word, so there is no error rate; check the text"
        )
    outside = read_outside(hyp.parent, refs)
    if outside:
        hyps = {name: replace(heard, outside=outside[name]) for name, heard in hyps.items()}
    return [(transcript, hyps[name]) for name, transcript in refs.items()]


def _check_complete(path: Path, names: Set[str], other: Path, expected: Set[str]) -> None:
    missing = sorted(expected - names)
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise TopdownError(
            f"{path}: {len(missing)} of the utterances in {other} are missing here ({some}); both"
            " files need the same utterances: decode and score again (stages 12 and 13)"
        )


def find_scores(exp: Path) -> dict[Key, tuple[Path, Path]]:
    """(ref.trn, hyp.trn) of every scored set of an experiment, sorted by their keys.

    ESPnet2's asr.sh scores test sets in ``<inference>/<set>/score_*`` and the valid set in
    ``<inference>/org/<set>/score_*``; the latter's name is given as ``org/<set>``.

    Raises:
        TopdownError: `exp` is no directory.
    """
    exp = Path(exp)
    if not exp.is_dir():
        raise TopdownError(
            f"{exp}: no such directory; give an experiment that was trained, such as"
            " exp/asr_train_..."
        )
    scores: dict[Key, tuple[Path, Path]] = {}
    for metric in METRICS:
        for folder in (*exp.glob(f"*/*/score_{metric}"), *exp.glob(f"*/org/*/score_{metric}")):
            inference, *names = folder.relative_to(exp).parts[:-1]
            key = (inference, "/".join(names), metric)
            scores[key] = (folder / "ref.trn", folder / "hyp.trn")
    # Sorting is stable: the metrics of a set stay in the order of METRICS.
    return dict(sorted(scores.items(), key=lambda item: item[0][:2]))


def read_decoded(exp: Path, *, case_sensitive: bool = False) -> dict[Key, list[Pair]]:
    """The pairs of every scored set of an experiment, in the order of `find_scores`.

    Raises:
        TopdownError: as `find_scores` and `read_pairs`.
    """
    return {
        key: read_pairs(ref, hyp, case_sensitive=case_sensitive)
        for key, (ref, hyp) in find_scores(exp).items()
    }


def write_result(score_dir: Path, *, case_sensitive: bool = False) -> Score:
    """Score ref.trn against hyp.trn in `score_dir` and write result.txt beside them.

    It has the shape of sclite's summary, from which ESPnet2's show_asr_result.sh takes the
    ``Sum/Avg`` line.

    Raises:
        TopdownError: as `read_pairs`.
    """
    score_dir = Path(score_dir)
    pairs = read_pairs(score_dir / "ref.trn", score_dir / "hyp.trn", case_sensitive=case_sensitive)
    total = score(pairs)
    utterances: dict[str, list[Utterance]] = {}
    for utterance in total.utterances:
        utterances.setdefault(utterance.speaker, []).append(utterance)
    rows = {speaker: Score(tuple(spoken)) for speaker, spoken in utterances.items()}
    rows["Sum/Avg"] = total
    width = max(map(len, rows))
    lines = [f"| {'SPKR':<{width}} | # Snt  # Wrd |  Corr    Sub    Del    Ins    Err  S.Err |"]
    for name, row in rows.items():
        sentences, words, *rates = row.columns()
        cells = " ".join(f"{rate:>6}" for rate in rates)
        lines.append(f"| {name:<{width}} | {sentences:>5} {words:>6} |{cells} |")
    case = "sensitive" if case_sensitive else "folded"
    notes = [f"Case {case}; {total.ties} alignment ties, settled as sclite does."]
    braces = _literal_braces(pairs)
    if braces:
        some = ", ".join(braces[:3]) + (", ..." if len(braces) > 3 else "")
        notes.append(
            f"Utterances with braces that are taken literally, where sclite would look for"
            f" alternatives or fail: {len(braces)} ({some})."
        )
        logging.warning("%s: %s", score_dir, notes[-1])
    write_text(score_dir / "result.txt", "\n".join([*lines, "", *notes, ""]))
    return total


def _literal_braces(pairs: Sequence[Pair]) -> list[str]:
    """Ids of the utterances whose reference or hypothesis has braces that open no alternatives."""
    names = []
    for ref, hyp in pairs:
        literal = [*hyp.tokens]
        if ref.alternatives is None:
            literal += ref.tokens
        if any("{" in token for token in literal):
            names.append(ref.utterance)
    return names
