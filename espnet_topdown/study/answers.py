"""The answers of a study to its questions: one number a seed, and what holds over seeds.

Error rates and perplexities by one rule. The numbers' tests are `espnet_topdown.study.inference`'s,
the tables `espnet_topdown.study.tables`'s.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from statistics import fmean

from espnet_topdown.results.questions import (
    FROM_SCRATCH,
    Arm,
    ArmPair,
    from_scratch,
    over_seeds,
)
from espnet_topdown.results.significance import holm, t_interval
from espnet_topdown.study import analysis
from espnet_topdown.study.inference import (
    ALPHA,
    DIGITS,
    FEWEST_SEEDS,
    Variance,
    paired_p,
    pooled_p,
    run_variance,
)
from espnet_topdown.study.records import Record, by_key, phases_of

Interval = tuple[float, float]
# Seed and name of a phase -> its error rate in percent, or its perplexity.
Values = Mapping[tuple[int, str], float]

PRIMARY = "primary: "
NOT_SHOWN = "not shown"
NO_SPREAD = "no spread over seeds"
TOO_FEW = "too few seeds"


@dataclass(frozen=True)
class Answer:
    """One question and, over all seeds that can answer it, its answer.

    Args:
        question: in words, "FIRST - SECOND".
        pairs: what is compared, one pair a seed.
        values: mean of the first and of the second arm, for each pair.
        interval: 95 % of the mean difference, by Student's t over seeds; None for a single one.
        p: of that t; None for fewer than `FEWEST_SEEDS` seeds, and where all differ by the same.
        p_holm: corrected for the questions of its family that differ in what they compare.
        p_pooled: by the pooled variance of a run on the same data, instead of that of these few
            differences.
    """

    question: str
    pairs: tuple[ArmPair, ...]
    values: tuple[tuple[float, float], ...]
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    p_pooled: float | None = None

    @property
    def differences(self) -> list[float]:
        """First minus second, seed by seed; negative where the first is better."""
        return [round(first - second, DIGITS) for first, second in self.values]

    @property
    def mean(self) -> float:
        """Mean difference over seeds."""
        return fmean(self.differences)

    def verdict(self, better: str, worse: str) -> str:
        """What t over seeds says of the way of training, once corrected for all questions.

        Args:
            better: how to say that the first has lower values.
            worse: how to say that it has higher ones.
        """
        if len(self.pairs) < FEWEST_SEEDS:
            return TOO_FEW
        if self.p_holm is None:
            return NO_SPREAD
        if self.p_holm >= ALPHA:
            return NOT_SHOWN
        return better if self.mean < 0 else worse


def answers(records: Sequence[Record], values: Values, dataset: str) -> list[Answer]:
    """The answers to all questions that have one, each corrected for those of its family.

    A study with a plan of analysis is asked that plan's questions and no others: the primary one
    alone, then the secondary ones as a family. Any other is asked all, as one family.

    Args:
        records: of the seeds.
        values: of the phases that have one; the others answer nothing.
        dataset: set, or text, that the values were measured on.
    """
    runs = [record.runs for record in records]
    planned = records[0].analysis
    if planned is None:
        return _family(over_seeds(runs), records, values)
    primary = {
        f"{PRIMARY}{question}": pairs
        for question, pairs in analysis.pairs(planned, "primary", dataset, runs).items()
    }
    secondary = analysis.pairs(planned, "secondary", dataset, runs)
    return [*_family(primary, records, values), *_family(secondary, records, values)]


def _family(
    asked: Mapping[str, Sequence[ArmPair]], records: Sequence[Record], values: Values
) -> list[Answer]:
    """The answers to questions that are corrected for one another."""
    variance = cache(partial(variance_of, records, values))
    found = []
    for question, pairs in asked.items():
        known = [pair for pair in pairs if _is_known(pair, values)]
        # What no seed can answer on this set counts for no correction.
        if known:
            data = frozenset(run.reads for pair in known for run in (*pair.first, *pair.second))
            found.append(_answer(question, known, values, variance(data)))
    return _with_holm(found)


def _is_known(pair: ArmPair, values: Values) -> bool:
    return all((pair.seed, phase.name) in values for phase in (*pair.first, *pair.second))


def _answer(
    question: str, pairs: Sequence[ArmPair], values: Values, variance: Variance | None
) -> Answer:
    both = [
        (_mean(pair.seed, pair.first, values), _mean(pair.seed, pair.second, values))
        for pair in pairs
    ]
    answer = Answer(question, tuple(pairs), tuple(both))
    runs = [(len(pair.first), len(pair.second)) for pair in pairs]
    return replace(
        answer,
        interval=t_interval(answer.differences),
        p=paired_p(answer.differences),
        p_pooled=pooled_p(answer.mean, runs, variance),
    )


def _mean(seed: int, arm: Arm, values: Values) -> float:
    return fmean(values[seed, phase.name] for phase in arm)


def _with_holm(found: Sequence[Answer]) -> list[Answer]:
    """The same with every p corrected for the questions, those that compare the same runs once."""
    compared = [tuple((pair.seed, *pair.names) for pair in answer.pairs) for answer in found]
    # A question asked in two ways is one test: twice counted, it would make all others harder.
    distinct = {runs: _p_counted(answer) for runs, answer in zip(compared, found, strict=True)}
    corrected = dict(zip(distinct, holm(list(distinct.values())), strict=True))
    return [
        replace(answer, p_holm=None if answer.p is None else corrected[runs])
        for runs, answer in zip(compared, found, strict=True)
    ]


def _p_counted(answer: Answer) -> float | None:
    """The p that a correction counts; a question whose seeds all differ by the same was asked."""
    if answer.p is None and len(answer.pairs) >= FEWEST_SEEDS:
        return 1.0
    return answer.p


def scratch_values(
    records: Sequence[Record], values: Values, reads: str = ""
) -> dict[tuple[int, str], float]:
    """Those of `values` that runs from scratch have: phase 0 and the restarts.

    Args:
        records: of the seeds.
        values: of phases.
        reads: the runs' data, as in `PhaseResult`; of another than the base's, the restarts alone.
    """
    keys = [
        (record.seed, run.name)
        for record in records
        for run in from_scratch(record.runs, reads=reads)
    ]
    return {key: values[key] for key in keys if key in values}


def data_read(records: Sequence[Record]) -> list[str]:
    """What phases read, as in `PhaseResult`; "" is the base's own data."""
    return list(dict.fromkeys(phase.reads for phase in phases_of(records)))


def variance_of(
    records: Sequence[Record], values: Values, reads: Collection[str]
) -> Variance | None:
    """The variance of a run under other seeds, pooled over the ways of training on some data.

    Args:
        records: of the seeds.
        values: of phases.
        reads: the data, as in `PhaseResult`: on other data runs may vary otherwise.
    """
    arms: dict[str, list[float]] = {}
    # In one order, for sums that are the same to the last bit.
    for data in sorted(reads):
        scratch = scratch_values(records, values, data)
        arms[f"{FROM_SCRATCH} {data}"] = list(scratch.values())
        for (seed, name), phase in by_key(records).items():
            if phase.reads == data and (seed, name) in values.keys() - scratch.keys():
                # A name stands for one kind, cut and settings, whatever the seed.
                arms.setdefault(name, []).append(values[seed, name])
    return run_variance(arms.values())
