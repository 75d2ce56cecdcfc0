"""Error counts of decoded sets, equal to sclite's, from the ref.trn and hyp.trn that ESPnet2's
stage 13 leaves.

kaldialign counts with sclite's costs (substitution 4, insertion and deletion 3). Where two best
alignments have different numbers of errors (a tie), sclite's own order of preference decides, so
that totals agree there too; ties are counted. Tables are left to `espnet_topdown.results.pages`,
significance to `espnet_topdown.results.significance`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text
from espnet_topdown.results.trn import Transcript, read_trn, write_trn

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "METRICS",
    "Score",
    "Utterance",
    "alignments",
    "find_scores",
    "score_trn",
    "write_result",
    "write_trn",
]

METRICS = ("wer", "cer", "ter")
SUBSTITUTION, INDEL = 4, 3


@dataclass(frozen=True)
class Utterance:
    """Error counts of one utterance.

    `tie` is True where best alignments differ in their number of errors.
    """

    name: str
    speaker: str
    reference: tuple[str, ...]
    substitutions: int
    deletions: int
    insertions: int
    tie: bool

    @property
    def words(self) -> int:
        """Reference words."""
        return len(self.reference)

    @property
    def correct(self) -> int:
        """Reference words recognised."""
        return self.words - self.substitutions - self.deletions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Score:
    """Error counts of one decoded set.

    Its utterances in the order of the reference, and their totals.
    """

    utterances: tuple[Utterance, ...]

    def _total(self, count: str) -> int:
        return sum(getattr(utterance, count) for utterance in self.utterances)

    @property
    def sentences(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

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
        rates = (_percent(count, self.words) for count in counts)
        return (
            str(self.sentences),
            str(self.words),
            *rates,
            _percent(self.sentence_errors, self.sentences),
        )


def _percent(part: int, whole: int) -> str:
    """One decimal, halves up as sclite rounds (Python takes them to even).

    The order of operations counts.
    """
    return f"{math.floor(part / whole * 100 * 10 + 0.5) / 10:.1f}" if whole else "-"


def score_trn(ref: Path, hyp: Path, *, case_sensitive: bool = False) -> Score:
    """Error counts of `hyp` against `ref`, equal to those of ``sclite -i rm`` (with ``-s`` if
    `case_sensitive`).

    Raises:
        TopdownError: a file cannot be read, the two do not hold the same utterances, or the
            reference has no word.
    """
    score = Score(tuple(_count(ref, hyp) for ref, hyp in _pairs(ref, hyp, case_sensitive)))
    if not score.words:
        raise TopdownError(
            f"{ref}: its {score.sentences} utterances hold no word, so no error rate; check the"
            " text"
        )
    return score


def alignments(ref: Path, hyp: Path, *, case_sensitive: bool = False) -> dict[str, str]:
    """sclite's alignment of every utterance, by id, as a string of C, S, D and I.

    Raises as `score_trn` does.
    """
    return {
        ref.utterance: align(ref.tokens, hyp.tokens)
        for ref, hyp in _pairs(ref, hyp, case_sensitive)
    }


def _pairs(ref: Path, hyp: Path, case_sensitive: bool) -> list[tuple[Transcript, Transcript]]:
    """Reference and hypothesis of every utterance.

    Sclite drops unmatched ones in silence, this does not.
    """
    refs, hyps = (read_trn(path, case_sensitive=case_sensitive) for path in (ref, hyp))
    for path, missing in ((hyp, refs.keys() - hyps.keys()), (ref, hyps.keys() - refs.keys())):
        if missing:
            some = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
            raise TopdownError(
                f"{path}: {len(missing)} of the utterances in {ref if path == hyp else hyp} are"
                f" missing here ({some}); both files need the same utterances: decode and score"
                " again (stages 12 and 13)"
            )
    return [(transcript, hyps[name]) for name, transcript in refs.items()]


def _count(ref: Transcript, hyp: Transcript) -> Utterance:
    """Counts by kaldialign.

    By sclite's preference where the number of errors is not settled by the costs.
    """
    import kaldialign

    found = kaldialign.edit_distance(ref.tokens, hyp.tokens, sclite_mode=True)
    subs, dels, ins = (int(found[key]) for key in ("sub", "del", "ins"))
    tie = False
    if (
        subs >= 3 or min(dels, ins) >= 2
    ):  # 3 substitutions cost as much as 2 insertions and 2 deletions
        tie = _fewest_and_most_errors_differ(ref.tokens, hyp.tokens)
    if tie:
        path = align(ref.tokens, hyp.tokens)
        subs, dels, ins = path.count("S"), path.count("D"), path.count("I")
    return Utterance(ref.utterance, ref.speaker, tuple(ref.tokens), subs, dels, ins, tie)


def _fewest_and_most_errors_differ(ref: Sequence[str], hyp: Sequence[str]) -> bool:
    """Whether the cheapest alignments differ in their number of errors, by adding or taking one
    hair per error.
    """
    scale = len(ref) + len(hyp) + 1
    fewest = int(_costs(ref, hyp, SUBSTITUTION * scale + 1, INDEL * scale + 1)[-1, -1]) % scale
    most = -int(_costs(ref, hyp, SUBSTITUTION * scale - 1, INDEL * scale - 1)[-1, -1]) % scale
    return fewest != most


def align(ref: Sequence[str], hyp: Sequence[str]) -> str:
    """The alignment that sclite prints, as a string of C, S, D and I.

    Among equally cheap ones sclite (SCTK 2.4.10, net_dp.c) traces back from the end and takes a
    match or substitution first, then an insertion, then a deletion.
    """
    if ref == hyp:
        return "C" * len(ref)
    costs = _costs(ref, hyp, SUBSTITUTION, INDEL).tolist()
    i, j, steps = len(ref), len(hyp), []
    while i and j:
        same = ref[i - 1] == hyp[j - 1]
        if costs[i][j] == costs[i - 1][j - 1] + (0 if same else SUBSTITUTION):
            i, j, step = i - 1, j - 1, "C" if same else "S"
        elif costs[i - 1][j] < costs[i][j - 1]:
            i, step = i - 1, "D"
        else:
            j, step = j - 1, "I"
        steps.append(step)
    return "D" * i + "I" * j + "".join(reversed(steps))


def _costs(ref: Sequence[str], hyp: Sequence[str], substitution: int, indel: int) -> "np.ndarray":
    """Cheapest costs of aligning each prefix of `ref` with each of `hyp`, (len(ref) + 1, len(hyp) +
    1).
    """
    import numpy as np

    number = {word: n for n, word in enumerate({*ref, *hyp})}
    heard = np.array([number[word] for word in hyp], dtype=np.int64)
    insertions = indel * np.arange(len(hyp) + 1)
    costs = np.empty((len(ref) + 1, len(hyp) + 1), dtype=np.int64)
    costs[0] = insertions
    for i, word in enumerate(ref, 1):
        row = costs[i - 1] + indel
        row[1:] = np.minimum(
            row[1:], costs[i - 1, :-1] + np.where(heard == number[word], 0, substitution)
        )
        costs[i] = np.minimum.accumulate(row - insertions) + insertions
    return costs


def find_scores(exp: Path) -> dict[tuple[str, str, str], tuple[Path, Path]]:
    """Every scored set of an experiment.

    (inference directory, data set, metric) -> (ref.trn, hyp.trn), sorted.

    ESPnet2's asr.sh scores test sets in ``<inference>/<set>/score_*`` and the valid set in
    ``<inference>/org/<set>/score_*``; the latter's name is given as ``org/<set>``.

    Raises:
        TopdownError: `exp` is no directory.
    """
    if not Path(exp).is_dir():
        raise TopdownError(
            f"{exp}: no such directory; give an experiment that was trained, such as"
            " exp/asr_train_..."
        )
    found = {}
    for metric in METRICS:
        for pattern in ("*/*", "*/org/*"):
            for folder in Path(exp).glob(f"{pattern}/score_{metric}"):
                inference, *dataset = folder.relative_to(exp).parts[:-1]
                found[inference, "/".join(dataset), metric] = (
                    folder / "ref.trn",
                    folder / "hyp.trn",
                )
    return dict(sorted(found.items(), key=lambda item: (item[0][:2], METRICS.index(item[0][2]))))


def write_result(score_dir: Path, *, case_sensitive: bool = False) -> Score:
    """Score ref.trn against hyp.trn in `score_dir` and write result.txt beside them, in the shape
    of sclite's summary.

    ESPnet2's show_asr_result.sh takes the ``Sum/Avg`` line from it. Returns the score; raises as
    `score_trn` does.
    """
    score = score_trn(
        Path(score_dir) / "ref.trn", Path(score_dir) / "hyp.trn", case_sensitive=case_sensitive
    )
    speakers: dict[str, list[Utterance]] = {}
    for utterance in score.utterances:
        speakers.setdefault(utterance.speaker, []).append(utterance)
    rows = [(speaker, Score(tuple(utterances))) for speaker, utterances in speakers.items()] + [
        ("Sum/Avg", score)
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"| {'SPKR':<{width}} | # Snt  # Wrd |  Corr    Sub    Del    Ins    Err  S.Err |"]
    for name, row in rows:
        snt, wrd, *rates = row.columns()
        lines.append(
            f"| {name:<{width}} | {snt:>5} {wrd:>6} |{' '.join(f'{rate:>6}' for rate in rates)} |"
        )
    notes = (
        f"Case {'sensitive' if case_sensitive else 'folded'}; {score.ties} alignment ties, settled"
        " as sclite does."
    )
    write_text(Path(score_dir) / "result.txt", "\n".join([*lines, "", notes, ""]))
    return score
