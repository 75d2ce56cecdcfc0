"""Whether ways of training differ: Student's t over seeds, its sensitivity, nulls and power.

Numbers in, numbers out. What is compared is `espnet_topdown.study.answers`'s part.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
# With two there is one degree of freedom, and no interval is narrow enough to say anything.
FEWEST_SEEDS = 3
# Means of runs are thirds and the like: what equal ones differ by in the last bit is nothing.
DIGITS = 9
NULL_DRAWS = 1000
MOST_SEEDS = 1000  # that a study is planned with; nobody trains more


@dataclass(frozen=True)
class Variance:
    """Variance of a single run under other seeds, pooled over all ways of training of a study.

    Args:
        value: the variance.
        freedom: its degrees of freedom.
    """

    value: float
    freedom: int

    @property
    def deviation(self) -> float:
        """Standard deviation of a run."""
        return math.sqrt(self.value)


def run_variance(arms: Iterable[Sequence[float]]) -> Variance | None:
    """The variance within ways of training; None where none has two runs.

    Args:
        arms: for each way of training the values of its runs.
    """
    squares, freedom = 0.0, 0
    for values in arms:
        if len(values) > 1:
            squares += float(np.var(values, ddof=1)) * (len(values) - 1)
            freedom += len(values) - 1
    return Variance(squares / freedom, freedom) if freedom else None


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's t over seeds.

    None for fewer than `FEWEST_SEEDS`, and for differences that are all the same but not 0, whose
    t is infinite: few words, or few errors, have that by chance.
    """
    if len(differences) < FEWEST_SEEDS:
        return None
    if not any(differences):
        return 1.0
    if len(set(differences)) == 1:
        return None
    return float(_t_p(_paired_t(np.array(differences)[None]), len(differences) - 1)[0])


def pooled_p(
    difference: float, runs: Sequence[tuple[int, int]], variance: Variance | None
) -> float | None:
    """Two-sided p of a difference, the mean over seeds, by the pooled variance of a run.

    Args:
        difference: of the seeds' means.
        runs: of each seed, how many runs its two means are of.
        variance: of a run; None gives None, as a variance of 0 does.
    """
    if variance is None or not variance.value:
        return None
    # Each seed counts alike, however many runs it has.
    share = sum(1 / first + 1 / second for first, second in runs) / len(runs) ** 2
    t = difference / (variance.deviation * math.sqrt(share))
    return float(_t_p(np.array([t]), variance.freedom)[0])


def _paired_t(differences: np.ndarray) -> np.ndarray:
    """Student's t of each row of `differences`, (draws, seeds); without any variance 0."""
    means = differences.mean(axis=1)
    errors = differences.std(axis=1, ddof=1) / math.sqrt(differences.shape[1])
    t = np.zeros_like(means)
    np.divide(means, errors, out=t, where=errors > 0)
    return t


def _t_p(t: np.ndarray, freedom: int) -> np.ndarray:
    from scipy.special import stdtr

    p: np.ndarray = 2 * stdtr(freedom, -np.abs(t))
    return p


@dataclass(frozen=True)
class Split:
    """Runs of one way of training, drawn at random into two groups that differ in nothing.

    Args:
        first: (draws, seeds) places of runs.
        second: others, paired with those of `first`.
    """

    first: np.ndarray
    second: np.ndarray


def null_splits(runs: int, seeds: int, draws: int = NULL_DRAWS) -> Split | None:
    """Random groups of `seeds` against `seeds` of as many `runs`; None where these are too few."""
    if runs < 2 * seeds or seeds < FEWEST_SEEDS:
        return None
    draw = np.random.default_rng(0)
    orders = np.array([draw.permutation(runs) for _ in range(draws)])
    return Split(orders[:, :seeds], orders[:, seeds : 2 * seeds])


def null_rates(
    values: Sequence[float], split: Split, variance: Variance | None
) -> tuple[float, float | None]:
    """How often t over seeds, and t by the pooled variance, call equal runs different.

    Args:
        values: of the runs.
        split: of them.
        variance: of a run; None leaves out the second.
    """
    runs = np.array(values)
    differences = (runs[split.first] - runs[split.second]).round(DIGITS)
    seeds = differences.shape[1]
    over_seeds = float(np.mean(_t_p(_paired_t(differences), seeds - 1) < ALPHA))
    if variance is None or not variance.value:
        return over_seeds, None
    t = differences.mean(axis=1) / (variance.deviation * math.sqrt(2 / seeds))
    return over_seeds, float(np.mean(_t_p(t, variance.freedom) < ALPHA))


def power(seeds: int, difference: float, deviation: float) -> float:
    """Probability that t over `seeds` pairs shows a true difference.

    Source: the noncentral t distribution.

    Args:
        seeds: number of pairs.
        difference: of the means.
        deviation: standard deviation of the pairs' differences.
    """
    from scipy.stats import nct
    from scipy.stats import t as student

    bound = student.ppf(1 - ALPHA / 2, seeds - 1)
    shift = abs(difference) / deviation * math.sqrt(seeds)
    above = nct.sf(bound, seeds - 1, shift)
    # As an upper tail too: nct.cdf has no number for many lower ones (scipy 1.17).
    below = nct.sf(bound, seeds - 1, -shift)
    return float(above + below)


def seeds_needed(difference: float, deviation: float, at_least: float) -> int | None:
    """The fewest seeds with a power of `at_least`; None where even `MOST_SEEDS` have less."""
    enough = (
        seeds
        for seeds in range(FEWEST_SEEDS, MOST_SEEDS + 1)
        if power(seeds, difference, deviation) >= at_least
    )
    return next(enough, None)
