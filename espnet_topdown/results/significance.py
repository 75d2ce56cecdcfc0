"""Whether error rates differ.

Paired bootstrap, MAPSSWE with sc_stats' segments, exact sign test, Holm's correction.

Numbers in, numbers out; which systems are compared is decided in `espnet_topdown.results.compare`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
BOUND = 2  # sc_stats' default: correct words on both systems that end a segment
_CELLS = 4_000_000  # resampled units held at once: some 64 MB


def bootstrap_intervals(
    errors: np.ndarray,
    words: np.ndarray,
    units: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """95 % percentile intervals of error rates or of their differences, all from the same
    resamples.

    Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
        evaluation", ICASSP 2004.

    Args:
        errors: (utterances, columns); a column holds errors, or differences of errors, per
            utterance. The mean over several seeds in one column moves all seeds of an utterance
            together.
        words: (utterances,) reference words.
        units: what is drawn with replacement, one name per utterance: its speaker, or its own id.
        resamples: number of resamples.
        seed: of the random draws, fixed so that a table is reproducible.

    Returns:
        (low, high) in percentage points, for each column.
    """
    _, index = np.unique(np.asarray(units, dtype=str), return_inverse=True)
    sums = np.zeros((index.max() + 1, errors.shape[1] + 1))
    np.add.at(sums, index, np.column_stack([errors, words]))
    draws, n, rng = [], len(sums), np.random.default_rng(seed)
    chunk = max(1, _CELLS // n)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        draws.append(np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n) @ sums)
    totals = np.concatenate(draws)
    totals = totals[
        totals[:, -1] > 0
    ]  # a resample of utterances without reference words has no error rate
    low, high = np.quantile(100 * totals[:, :-1] / totals[:, -1:], [0.025, 0.975], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high)]


@dataclass(frozen=True)
class Mapsswe:
    """Outcome of a matched-pairs test.

    Segments, mean difference (first - second) of errors a segment, z, two-sided p.

    `z` is None where all differences are equal: `p` is then the exact sign test's. `p` is None
    without any segment.
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
            `scoring.align` writes them.
    """
    differences = np.array(
        [a - b for first, second in pairs for a, b in segment_errors(first, second)], dtype=float
    )
    n = len(differences)
    if n == 0:
        return Mapsswe(0, 0.0, None, None)
    mean = float(differences.mean())
    if np.all(
        differences == differences[0]
    ):  # variance 0: sc_stats calls even "always one error fewer" no difference
        return Mapsswe(n, mean, None, sign_test(differences))
    z = mean / float(differences.std(ddof=1)) * math.sqrt(n)
    return Mapsswe(n, mean, z, math.erfc(abs(z) / math.sqrt(2)))


def segment_errors(first: str, second: str, bound: int = BOUND) -> list[tuple[int, int]]:
    """Errors of both systems in each segment of one utterance.

    A segment opens at an error of either system and closes after `bound` reference words in a row
    that both have right, or at the end of the utterance (SCTK 2.4.10; early versions lost
    insertions after the last reference word).

    Args:
        first: alignment of the first system (C, S, D, I).
        second: alignment of the second system with the same reference.
        bound: correct words that part two segments.
    """
    segments, errors, run, inside = [], [0, 0], 0, False
    paths, at = (first, second), [0, 0]
    while at[0] < len(first) or at[1] < len(second):
        for side, path in enumerate(paths):
            while at[side] < len(path) and path[at[side]] == "I":
                at[side], errors[side], run, inside = at[side] + 1, errors[side] + 1, 0, True
        steps = [path[at[side] : at[side] + 1] for side, path in enumerate(paths)]
        if steps == ["C", "C"]:
            run += 1
        else:
            run, inside = 0, True
            errors = [count + (step in ("S", "D")) for count, step in zip(errors, steps)]
        at = [position + len(step) for position, step in zip(at, steps)]
        if inside and run == bound:
            segments.append((errors[0], errors[1]))
            errors, run, inside = [0, 0], 0, False
    if inside:
        segments.append((errors[0], errors[1]))
    return [segment for segment in segments if any(segment)]


def sign_test(differences: Iterable[float]) -> float:
    """Exact two-sided sign test.

    The probability of a split at least as uneven, were both signs equally likely.

    Zeros are left out; without any other value the answer is 1.
    """
    signs = [difference > 0 for difference in differences if difference]
    n, fewer = len(signs), min(sum(signs), len(signs) - sum(signs))
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm, Scandinavian Journal of Statistics 1979).

    None stays, uncounted.
    """
    order = sorted((p, k) for k, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, k) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p))
        corrected[k] = least
    return corrected
