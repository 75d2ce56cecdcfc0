"""Perplexities over seeds by hand, by the rule of error rates."""

import pytest
from made_records import lm_record

from espnet_topdown.study import pages, perplexity
from espnet_topdown.study.answers import Answer, answers

RECORDS = [lm_record(1, 60, 58, 60, 59), lm_record(2, 62, 59, 62, 63), lm_record(3, 61, 60, 61, 60)]
VALUES = perplexity.values(RECORDS, "test (stream)")


def by_question(records=RECORDS) -> dict[str, Answer]:
    return {answer.question: answer for answer in answers(records, VALUES, "test")}


def test_answers_by_hand() -> None:
    top = by_question()["best phase - from scratch"]
    assert top.differences == [-2, -3, -1]
    # Mean -2, standard deviation 1, t of 2 degrees of freedom 4.3027: 2.4842 to each side.
    assert top.interval == pytest.approx((-4.4842, 0.4842), abs=1e-4)
    # t = -2 * sqrt(3), of which 2 degrees of freedom leave 0.0742 outside.
    assert top.p == pytest.approx(0.0742, abs=1e-4)
    assert top.verdict("lower", "higher") == "not shown"
    assert by_question()["best phase - finetune_phase1"].differences == [-1, -4, 0]


def test_the_same_runs_count_once_for_holm() -> None:
    """The best phase is phase1 in every seed, so that two questions are one."""
    found = by_question()
    compared = {tuple(pair.names for pair in answer.pairs) for answer in found.values()}
    assert (len(found), len(compared)) == (6, 5)
    assert found["best phase - from scratch"].p_holm == pytest.approx(
        found["phase1 (cut output) - from scratch"].p_holm
    )
    least = min(found.values(), key=lambda answer: answer.p)
    assert least.p_holm == pytest.approx(5 * least.p)


def test_pooled_variance_is_that_of_all_ways_of_training() -> None:
    # From scratch 60, 60, 62, 62, 61, 61: squares 4; phase1 58, 59, 60: 2; fine-tuned 59, 63, 60:
    # 26/3. Over 5 + 2 + 2 degrees of freedom.
    variance = (4 + 2 + 26 / 3) / 9
    top = by_question()["best phase - from scratch"]
    t = 2 / (variance * (1 / 3 + 1 / 6)) ** 0.5
    from scipy.stats import t as student

    assert top.p_pooled == pytest.approx(2 * student.sf(t, 9))


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_give_no_verdict(seeds: int) -> None:
    top = by_question(RECORDS[:seeds])["best phase - from scratch"]
    assert (top.p, top.p_holm, top.verdict("lower", "higher")) == (None, None, "too few seeds")


def test_tables_and_sentences() -> None:
    section = pages.model_section("tiny", RECORDS)
    text = pages.markdown("tiny", RECORDS, section)
    row = "|best phase - from scratch|3|59.00 - 61.00|-2.00|-4.48 to +0.48|0.074 (0.371)|"
    assert row in text
    assert "|phase1|top_down|output|3|59.00|58.00 to 60.00|" in text
    assert "the first is better in 3 of 3 seeds." in text
    # The text that selected the phases has no verdict.
    assert "What holds: perplexity, test (stream)" in text
    assert "What holds: perplexity, valid (stream)" not in text
    assert min(section.pictures) == "tiny_perplexity_by_cut.png"
