"""Whether error rates differ, and how surely.

Numbers in, numbers out; which systems are compared is decided in `espnet_topdown.results.compare`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
# sc_stats' default: correct words on both systems that end a segment.
BOUND = 2
# Resampled units held at once: some 64 MB.
_CELLS = 4_000_000
# Of an alignment: the insertions before a word, and what became of it.
_WORD = re.compile("(I*)([^I])")


def bootstrap_intervals(
    errors: np.ndarray,
    words: np.ndarray,
    units: Sequence[str],
    *,
    weights: np.ndarray | None = None,
    strata: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """95 % percentile intervals of error rates or of their differences, from the same resamples.

    What is drawn is drawn in all runs together.

    Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
        evaluation", ICASSP 2004.

    Args:
        errors: (utterances, runs).
        words: (utterances,) reference words, or (utterances, runs) where each run was scored
            against alternatives of its own.
        units: what is drawn with replacement, one name per utterance: its speaker, or its own id.
        weights: (runs, columns); a column is the sum of the runs' error rates by its weights, such
            as 1 and -1 for a difference. None: a column for each run's rate.
        strata: within which units are drawn, one name per utterance, the same for all of a unit:
            speakers who are no sample of others. None: all units are one stratum.
        resamples: number of resamples.
        seed: of the random draws, fixed so that a table is reproducible.

    Returns:
        (low, high) in percentage points, for each column.
    """
    _, first, unit_of = np.unique(
        np.asarray(units, dtype=str), return_index=True, return_inverse=True
    )
    n = len(first)
    stratum_of = np.asarray(strata or [""] * len(units), dtype=str)[first]
    members = [np.flatnonzero(stratum_of == name) for name in np.unique(stratum_of)]
    # One row a unit: its errors in every run, then its words.
    counted = np.column_stack([errors, words])
    sums = np.zeros((n, counted.shape[1]))
    np.add.at(sums, unit_of, counted)

    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS // n)
    chunks = []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        times = np.zeros((rows, n), dtype=np.int64)
        for places in members:
            many = len(places)
            drawn = rng.integers(0, many, size=(rows, many))
            # How often each resample drew each unit, counted for all rows at once.
            cells = drawn + many * np.arange(rows)[:, None]
            counts = np.bincount(cells.ravel(), minlength=rows * many)
            times[:, places] = counts.reshape(rows, many)
        chunks.append(times @ sums)
    of_errors, of_words = np.split(np.concatenate(chunks), [errors.shape[1]], axis=1)
    # A resample of utterances without reference words has no error rate.
    has_words = (of_words > 0).all(axis=1)
    rates = 100 * of_errors[has_words] / of_words[has_words]
    if weights is not None:
        rates = rates @ weights
    # Weights are thirds and the like: what sums differ by in the last bit, by the number of
    # threads, must not decide on which side of zero an end lies; and no zero is below zero.
    low, high = np.quantile(np.round(rates, 9) + 0.0, [0.025, 0.975], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class Mapsswe:
    """Outcome of a matched-pairs test.

    Args:
        segments: number of segments that either system has an error in.
        mean: difference (first - second) of errors a segment.
        z: the statistic; None where all differences are equal: `p` is then the exact sign test's.
        p: two-sided; None without any segment.
    """

    segments: int
    mean: float
    z: float | None
    p: float | None


def mapsswe(pairs: Iterable[tuple[str, str]]) -> Mapsswe:
    """Matched-pairs sentence-segment word error test of two systems.

    Source: Gillick and Cox, ICASSP 1989, as in NIST's sc_stats ``-t mapsswe`` (SCTK, mtchprs.c).

    Args:
        pairs: for each utterance the two systems' alignments with the same reference, as
            `alignment.align` writes them.
    """
    segments = []
    for first, second in pairs:
        segments += segment_errors(first, second)
    if not segments:
        return Mapsswe(segments=0, mean=0.0, z=None, p=None)
    errors = np.array(segments, dtype=float)
    differences = errors[:, 0] - errors[:, 1]
    n = len(segments)
    mean = float(differences.mean())
    if np.all(differences == differences[0]):
        # Without variance sc_stats calls even "always one error fewer" no difference.
        return Mapsswe(segments=n, mean=mean, z=None, p=sign_test(differences))
    deviation = float(differences.std(ddof=1))
    z = mean / deviation * math.sqrt(n)
    # Two-sided tail of the standard normal distribution.
    p = math.erfc(abs(z) / math.sqrt(2))
    return Mapsswe(segments=n, mean=mean, z=z, p=p)


def segment_errors(first: str, second: str, bound: int = BOUND) -> list[tuple[int, int]]:
    """Errors of both systems in each segment of one utterance.

    A segment opens at an error of either system and closes after `bound` reference words in a row
    that both have right, or at the end of the utterance (SCTK 2.4.10; early versions lost
    insertions after the last reference word).

    Args:
        first: alignment of the first system (C, S, D, I).
        second: alignment of the second system with the same reference; where it took alternatives
            of other lengths, no word of the one stands for one of the other, and the utterance is
            one segment.
        bound: correct words that part two segments.
    """
    by_word, by_other_word = _by_word(first), _by_word(second)
    if len(by_word) != len(by_other_word):
        whole = len(first) - first.count("C"), len(second) - second.count("C")
        return [whole] if any(whole) else []
    segments = []
    errors = [0, 0]
    right_in_a_row = 0
    words = zip(by_word, by_other_word, strict=True)
    for (inserted, is_wrong), (other_inserted, other_is_wrong) in words:
        errors[0] += inserted + is_wrong
        errors[1] += other_inserted + other_is_wrong
        if inserted or other_inserted:
            right_in_a_row = 0
        if is_wrong or other_is_wrong:
            right_in_a_row = 0
        else:
            right_in_a_row += 1
        if any(errors) and right_in_a_row == bound:
            segments.append((errors[0], errors[1]))
            errors = [0, 0]
            right_in_a_row = 0
    if any(errors):
        segments.append((errors[0], errors[1]))
    return segments


def word_errors(path: str) -> list[int]:
    """Errors at every reference word of an alignment; insertions count at the word behind them.

    Those behind the last word count at it; without any word they count nowhere.
    """
    *words, (at_end, _) = _by_word(path)
    errors = [inserted + is_wrong for inserted, is_wrong in words]
    if errors:
        errors[-1] += at_end
    return errors


def _by_word(path: str) -> list[tuple[int, bool]]:
    """(insertions before it, whether it is wrong) of every reference word, last of the end."""
    # A dot for the end, before which there may be insertions too.
    return [(len(inserted), step in "SD") for inserted, step in _WORD.findall(f"{path}.")]


def sign_test(differences: Iterable[float]) -> float:
    """Two-sided p of the exact sign test; zeros are left out, and without other values it is 1."""
    from scipy.stats import binomtest

    signs = [difference > 0 for difference in differences if difference]
    return float(binomtest(sum(signs), len(signs)).pvalue) if signs else 1.0


def t_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of independent normal values, by Student's t.

    None for fewer than two values; equal values leave it no width.
    """
    # scipy.special answers in microseconds, and loads in a fraction of scipy.stats' time.
    from scipy.special import stdtrit

    if len(differences) < 2:
        return None
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    reach = float(stdtrit(len(differences) - 1, 0.975)) * error
    return mean - reach, mean + reach


def holm(values: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for their number; None stays, uncounted.

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        # A corrected value is never below that of a smaller p.
        least = max(least, (len(known) - rank) * p)
        corrected[place] = min(1.0, least)
    return corrected
