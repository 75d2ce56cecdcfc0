"""Error rates over seeds: differences, intervals and verdicts by hand."""

from dataclasses import replace

import pytest
from made_records import EQUAL, NAMES, SET, phase, record, usual

from espnet_topdown.results.outside import Outside
from espnet_topdown.study import contrasts
from espnet_topdown.study.records import Record


def answers(*records: Record) -> dict[str, contrasts.Contrast]:
    found = contrasts.ErrorRates(records, SET).contrasts()
    return {contrast.answer.question: contrast for contrast in found}


def test_contrasts_by_hand() -> None:
    by_question = answers(usual(1), usual(2))
    top = by_question["best phase - from scratch"]
    # 12 errors against 24, 24 and 18, of 240 words.
    assert top.answer.values == ((5.0, pytest.approx(22 / 2.4)),) * 2
    # Speakers are strata: what is drawn are the 10 utterances of each.
    assert top.test_data[0] < top.answer.mean < top.test_data[1] < 0
    # Utterances 12 to 23 are two of each speaker, 12 to 17 one.
    assert top.by_speaker == {f"s{k}": pytest.approx(-100 * 5 / 3 / 40) for k in range(6)}
    # The restart that dev selects is the first, whatever the test set says of the second.
    assert by_question[EQUAL].answer.values == ((5.0, 10.0), (5.0, 10.0))
    its = by_question["phase1 (cut decoder) - its bottom_up, one run each"]
    assert its.answer.mean == -20.0


def test_seeds_of_an_utterance_move_together() -> None:
    """Opposite differences in the two seeds cancel in every utterance, and so in every resample."""
    first, worse = (
        record(
            seed,
            [
                phase("phase0", "base", 0.5, range(wrong_base)),
                phase("phase1", "top_down", 0.7, range(wrong), cut="decoder"),
            ],
        )
        for seed, wrong_base, wrong in ((1, 24, 12), (2, 12, 24))
    )
    contrast = answers(first, worse)["best phase - from scratch"]
    assert contrast.answer.mean == 0.0
    assert contrast.test_data == (0.0, 0.0)


def test_runs_scored_against_alternatives_of_other_lengths_differ_by_their_rates() -> None:
    """Twice the errors in twice the words are the same rate, of every speaker too."""
    counts = {
        name: Outside(6, 2, 0, 0, "CCCCCCSS") if k < 24 else Outside(8, 0, 0, 0, "C" * 8)
        for k, name in enumerate(NAMES)
    }
    phases = [
        phase("phase0", "base", 0.5, range(24)),
        replace(phase("phase1", "top_down", 0.7, [], cut="decoder"), counted={SET: counts}),
    ]
    contrast = answers(record(1, phases))["best phase - from scratch"]
    assert contrast.answer.values == ((10.0, 10.0),)
    assert contrast.test_data == (0.0, 0.0)
    assert contrast.by_speaker == dict.fromkeys(contrast.by_speaker, pytest.approx(0.0))


def test_recordings_that_strings_share_are_drawn_together() -> None:
    """The interval is wider than if every word were a recording of its own."""
    shared = {name: [f"{name[:2]}{word}" for word in "abcd"] for name in NAMES}
    alone = {name: [f"{name}{place}" for place in range(4)] for name in NAMES}
    widths = []
    for recordings in (shared, alone):
        both = [replace(usual(seed), recordings={"test": recordings}) for seed in (1, 2)]
        low, high = answers(*both)[EQUAL].test_data
        widths.append(high - low)
    one_of_four, one_of_forty = widths
    # Of each speaker 2 of 40 words differ, all of one recording: 2 errors times binomial(4, 1/4)
    # against binomial(40, 1/20), with standard deviations of 1.73 and 1.38.
    assert one_of_four / one_of_forty == pytest.approx(1.73 / 1.38, rel=0.1)


def test_a_set_that_a_phase_was_not_decoded_on_answers_nothing_about_it() -> None:
    base, top, *others = usual(1).phases
    by_question = answers(record(1, [base, replace(top, hypotheses={}), *others]))
    assert "phase1 (cut decoder) - from scratch" not in by_question
    assert "phase2 (cut encoder.1) - from scratch" in by_question


def test_texts_of_records_are_counted_as_trn_files_are() -> None:
    """ASCII case is folded, ``@`` is no word, a tag is dropped, an empty text is all deletions."""
    texts = {NAMES[0]: "ONE  two @ three four;tag", NAMES[1]: ""}
    base, *others = usual(1).phases
    one = record(1, [replace(base, hypotheses={SET: texts}), *others])
    pairs = contrasts.pairs_of(one, one.phases[0], SET)
    assert pairs[0][0].tokens == pairs[0][1].tokens == ("one", "two", "three", "four")
    assert (pairs[1][1].tokens, pairs[1][1].speaker) == ((), "s1")
    # 4 errors of 240 words.
    rates = contrasts.ErrorRates([one], SET)
    assert rates.values[1, "phase0"] == 100 * 4 / 240
