"""Perplexities over seeds by hand."""

import pytest
from made_records import lm_record

from espnet_topdown.study import pages, perplexity

RECORDS = [lm_record(1, 60, 58, 61, 59), lm_record(2, 62, 59, 61, 63), lm_record(3, 61, 60, 61, 60)]


def test_contrasts_by_hand() -> None:
    answers = perplexity.contrasts(RECORDS, "test (stream)")
    by_question = {contrast.question: contrast for contrast in answers}
    top = by_question["best top-down phase - phase 0"]
    assert top.differences == [-2, -3, -1]
    # Mean -2, standard deviation 1, t of 2 degrees of freedom 4.3027: 2.4842 to each side.
    assert top.interval == pytest.approx((-4.4842, 0.4842), abs=1e-4)
    assert top.verdict == "not shown"
    lower = perplexity.PerplexityContrast("q", "t", top.pairs, ((58, 60), (59, 61.1), (60, 62.2)))
    assert lower.verdict == "lower"
    assert by_question["best top-down phase - finetune_phase1"].differences == [-1, -4, 0]


def test_a_single_seed_has_no_interval_and_no_verdict() -> None:
    [contrast, *_] = perplexity.contrasts(RECORDS[:1], "test (stream)")
    assert (contrast.interval, contrast.verdict) == (None, "not shown")


def test_tables_and_sentences() -> None:
    part = pages.model_part("tiny", RECORDS)
    text = pages.markdown("tiny", RECORDS, part)
    row = "|best top-down phase - phase 0|1, 2, 3|59.00 - 61.00|-2.00|-4.48 to +0.48|not shown|"
    assert row in text
    assert "|phase1|top_down|output|3|59.00 (58.00 to 60.00)|-2.00 (-4.48 to +0.48)|64.00 (" in text
    assert "the first has the lower perplexity in 3 of 3 seeds." in text
    assert min(part.pictures) == "tiny_perplexity_by_cut.png"
