"""Verdicts are right: nothing is found in nulls more often than stated, and effects as often."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import lm_record, phase, record

from espnet_topdown.results import significance
from espnet_topdown.results.questions import ArmPair
from espnet_topdown.study import inference
from espnet_topdown.study.answers import (
    Answer,
    _with_holm,
    answers,
    scratch_values,
    variance_of,
)
from espnet_topdown.study.contrasts import ErrorRates
from espnet_topdown.study.power import power_page, power_table
from espnet_topdown.study.record_files import find_records
from espnet_topdown.study.records import Record

ROOT = Path(__file__).parents[2]
DRAWS = 1000
SEEDS = (1, 2, 3)
QUESTION = "phase2 (cut encoder.1) - from scratch"
Studies = list[dict[str, Answer]]
NAMES = ("phase0", "restart_phase1", "restart_phase2", "phase1", "phase2", "unfrozen_phase1")


def committed(model: str) -> list[Record]:
    (records,) = find_records([ROOT / "egs2/fsdd/asr1/records" / model]).values()
    return records


@pytest.fixture(scope="module")
def transformer() -> ErrorRates:
    """The committed error rates of the Transformer."""
    records = committed("transformer")
    (dataset,) = records[0].references
    return ErrorRates(records, dataset)


def study() -> list[Record]:
    """Three seeds with phase 0, two phases, their restarts and an unfrozen control."""
    records = []
    for seed in SEEDS:
        phases = [
            phase("phase0", "base", 0.5, ()),
            phase("phase1", "top_down", 0.6, (), cut="decoder"),
            phase("phase2", "top_down", 0.5, (), cut="encoder.1"),
            phase("restart_phase1", "restart", 0.5, ()),
            phase("restart_phase2", "restart", 0.5, ()),
            phase("unfrozen_phase1", "unfrozen", 0.5, (), cut="decoder"),
        ]
        records.append(record(seed, phases))
    return records


def simulated(deviation: float, draws: int, *, effect: float = 0.0) -> Studies:
    """Answers of studies whose runs are exchangeable, but for `effect` on `phase2`."""
    draw = np.random.default_rng(1)
    records = study()
    studies = []
    for _ in range(draws):
        values = {}
        for seed in SEEDS:
            for name in NAMES:
                shift = effect if name == "phase2" else 0.0
                values[seed, name] = 14 + shift + float(draw.normal(0, deviation))
        studies.append({answer.question: answer for answer in answers(records, values, "test")})
    return studies


@pytest.fixture(scope="module")
def nulls(transformer: ErrorRates) -> Studies:
    """Answers where nothing differs but the seed, with the committed variance of a run."""
    deviation = variance_of(transformer.records, transformer.values, [""]).deviation
    assert 0.6 < deviation < 0.9
    return simulated(deviation, DRAWS)


@pytest.mark.parametrize("p", ["p", "p_pooled"])
def test_nulls_are_called_different_at_the_stated_rate(nulls: Studies, p: str) -> None:
    values = [getattr(of_study[QUESTION], p) for of_study in nulls]
    assert 0.03 <= np.mean(np.array(values) < inference.ALPHA) <= 0.07


def test_a_whole_study_of_nulls_rarely_has_any_verdict(nulls: Studies) -> None:
    any_verdict = []
    for of_study in nulls:
        found = {answer.verdict("fewer", "more") for answer in of_study.values()}
        any_verdict.append(found != {"not shown"})
    assert np.mean(any_verdict) <= 0.07


def test_large_effects_have_a_verdict_with_the_right_sign() -> None:
    studies = simulated(0.1, 100, effect=-8.0)
    found = [of_study[QUESTION].verdict("fewer", "more") for of_study in studies]
    assert found.count("fewer") > 90
    assert "more" not in found


@pytest.mark.parametrize(("difference", "deviation"), [(0.5, 0.4), (1.0, 1.1), (-0.5, 0.4)])
@pytest.mark.parametrize("at_least", [0.8, 0.9])
def test_effects_are_found_at_the_stated_power(
    difference: float, deviation: float, at_least: float
) -> None:
    seeds = inference.seeds_needed(difference, deviation, at_least)
    draw = np.random.default_rng(3)
    drawn = draw.normal(difference, deviation, size=(4000, seeds))
    found = np.mean([inference.paired_p(row) < inference.ALPHA for row in drawn])
    assert found == pytest.approx(inference.power(seeds, difference, deviation), abs=0.02)
    assert at_least <= inference.power(seeds, difference, deviation)
    assert inference.power(seeds - 1, difference, deviation) < at_least


def test_no_power_is_lost_where_a_difference_is_many_deviations() -> None:
    # By integration over the chi-square of the variance: 0.99998 and more.
    powers = [inference.power(seeds, 3.9, 1.0) for seeds in range(5, 30)]
    assert np.min(powers) > 0.9999
    # 0.898 with three seeds, 0.998 with four.
    deviations = np.arange(0.2560, 0.2566, 0.0001)
    assert {inference.seeds_needed(1, deviation, 0.9) for deviation in deviations} == {4}


def test_power_of_a_textbook() -> None:
    """Cohen's d of 0.5, 34 pairs: 0.8078 (G*Power 3.1, paired t test, two-sided)."""
    assert inference.power(34, 0.5, 1.0) == pytest.approx(0.8078, abs=1e-4)
    assert inference.seeds_needed(0.5, 1.0, 0.8) == 34


def test_more_seeds_than_are_tried_are_no_number() -> None:
    """Cohen's d of 0.05 needs 3,142 pairs: 2.802 squared over d squared, and 2 for t."""
    assert inference.seeds_needed(0.05, 1.0, 0.8) is None
    variance = inference.Variance(value=0.5, freedom=6)
    table = power_table("rnn", {"WER, test": (1, variance)}, 0.05)
    assert table.rows == [
        ("WER, test", "1 run from scratch a seed", "0.707", "over 1,000", "over 1,000")
    ]


def earlier_verdict_rate(rates: ErrorRates, split: inference.Split) -> float:
    """How often both intervals of the earlier rule leave out 0: utterances', and speakers'."""
    scores = [rates.scores[key] for key in scratch_values(rates.records, rates.values)]
    errors = np.array([score.errors_each for score in scores], dtype=float)
    differences = errors[split.first].mean(axis=1) - errors[split.second].mean(axis=1)
    reference = scores[0].reference
    words = reference.words.astype(float)
    sides = []
    for units in (reference.names, reference.speakers):
        intervals = significance.bootstrap_intervals(differences.T, words, units, resamples=1000)
        sides.append([(low > 0) - (high < 0) for low, high in intervals])
    both = [first == second != 0 for first, second in zip(*sides, strict=True)]
    return float(np.mean(both))


def test_resampled_test_data_alone_call_equal_runs_different(transformer: ErrorRates) -> None:
    """Why no verdict follows from them: from scratch against from scratch nothing differs."""
    values = list(scratch_values(transformer.records, transformer.values).values())
    split = inference.null_splits(len(values), 3, draws=300)
    assert earlier_verdict_rate(transformer, split) > 0.2
    assert transformer.null_rate_of_test_data(split) > 0.2
    over_seeds, pooled = inference.null_rates(
        values, split, variance_of(transformer.records, transformer.values, [""])
    )
    assert max(over_seeds, pooled) <= 0.07


def test_too_few_runs_have_no_null() -> None:
    assert inference.null_splits(5, 3) is None
    assert inference.null_splits(12, 2) is None
    split = inference.null_splits(6, 3, draws=20)
    for first, second in zip(split.first, split.second, strict=True):
        assert sorted([*first, *second]) == list(range(6))


@pytest.mark.parametrize(
    ("differences", "p"),
    [((1.0,), None), ((1.0, 2.0), None), ((0.0, 0.0, 0.0), 1.0), ((2.0, 2.0, 2.0), None)],
)
def test_p_of_few_or_equal_differences(differences: Sequence[float], p: float | None) -> None:
    assert inference.paired_p(differences) == p


def test_a_question_without_spread_counts_in_the_correction() -> None:
    """It was asked too: left out, the others would be shown the easier for it."""
    asked = [
        Answer(name, (ArmPair(1, (phase(name, "restart", 0.5, ()),), ()),) * 3, (), p=p)
        for name, p in (("a", 0.02), ("b", None))
    ]
    first, second = _with_holm(asked)
    assert (first.p_holm, second.p_holm) == (0.04, None)


def test_seeds_with_more_runs_than_others_count_alike() -> None:
    """A restart more or less a seed: 5 % of nulls have a p of at most 0.05, and not 7 %."""
    runs = [(1, 1), (1, 7), (1, 7)]
    variance = inference.Variance(value=1.0, freedom=10**6)
    draw = np.random.default_rng(5)
    values = []
    for _ in range(4000):
        means = [(draw.normal(0, a**-0.5), draw.normal(0, b**-0.5)) for a, b in runs]
        difference = np.mean([first - second for first, second in means])
        values.append(inference.pooled_p(difference, runs, variance))
    assert np.mean(np.array(values) < inference.ALPHA) == pytest.approx(0.05, abs=0.01)


def test_a_variance_of_nothing_gives_no_p() -> None:
    assert inference.run_variance([[1.0], []]) is None
    assert inference.pooled_p(1.0, [(1, 1)] * 3, None) is None
    assert inference.pooled_p(1.0, [(1, 1)] * 3, inference.Variance(0.0, 4)) is None


def test_power_is_that_of_one_run_less_the_mean_of_others() -> None:
    """Whose variance is 1 + 1/4 of a run's where there are four of them."""
    variance = inference.Variance(value=1.0, freedom=20)
    one, four = power_table("rnn", {"WER, test": (4, variance)}, 1.0).rows
    assert one[3:] == tuple(str(inference.seeds_needed(1.0, 2**0.5, share)) for share in (0.8, 0.9))
    assert four[3:] == tuple(
        str(inference.seeds_needed(1.0, 1.25**0.5, share)) for share in (0.8, 0.9)
    )


def test_power_counts_the_runs_from_scratch_that_every_seed_has() -> None:
    whole, few = lm_record(1, 60, 58, 60, 59), lm_record(2, 62, 59, 62, 63)
    few = replace(few, phases=tuple(one for one in few.phases if one.kind != "restart"))
    (table, *_) = power_page({"tiny": [whole, few]}, 2.0).tables
    assert {row[1] for row in table.rows} == {"1 run from scratch a seed"}


def test_power_of_perplexity_is_told_in_per_cent_too() -> None:
    records = [lm_record(1, 60, 58, 60, 59), lm_record(2, 62, 59, 62, 63)]
    (table, *_) = power_page({"tiny": records}, 2.0).tables
    units = dict.fromkeys(row[0].partition(",")[0] for row in table.rows)
    assert list(units) == ["perplexity", "100 x log perplexity"]


def test_holm_counts_a_comparison_once_however_many_questions_ask_it() -> None:
    def pairs(name: str) -> tuple[ArmPair, ...]:
        first, second = phase(name, "top_down", 0.5, ()), phase("phase0", "base", 0.5, ())
        return tuple(ArmPair(seed, (first,), (second,)) for seed in SEEDS)

    asked = [
        Answer("best", pairs("phase1"), (), p=0.02),
        Answer("phase1", pairs("phase1"), (), p=0.02),
        Answer("phase2", pairs("phase2"), (), p=0.5),
    ]
    assert [answer.p_holm for answer in _with_holm(asked)] == [0.04, 0.04, 0.5]


def test_float_noise_is_no_spread_of_null_differences():
    """Runs of 10 to 12 errors in 300 words: the same rate by counts as by percentages."""
    counts = [10, 11, 12] * 6
    split = inference.Split(np.array([[0, 1, 3]]), np.array([[1, 2, 4]]))
    by_count = inference.null_rates(counts, split, None)
    assert inference.null_rates([100 * one / 300 for one in counts], split, None) == by_count
