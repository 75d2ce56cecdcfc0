"""Error rates over seeds: differences, intervals and verdicts by hand."""

from dataclasses import replace

from made_records import EQUAL, NAMES, SET, phase, record, usual

from espnet_topdown.study import contrasts
from espnet_topdown.study.records import Record


def answers(*records: Record) -> dict[str, contrasts.Contrast]:
    return {contrast.question: contrast for contrast in contrasts.contrasts(records, SET)}


def test_contrasts_by_hand() -> None:
    by_question = answers(usual(1), usual(2))
    top = by_question["best top-down phase - phase 0"]
    assert top.rates == ((5.0, 10.0), (5.0, 10.0))
    assert top.points == -5.0
    # Utterances 12 to 23 are two of each speaker: the same in every resample of speakers.
    assert top.speakers == (-5.0, -5.0)
    assert top.utterances[0] < -5.0 < top.utterances[1] < 0
    assert top.verdict == "fewer errors"
    # The restart that dev selects is the first, whatever the test set says of the second.
    assert by_question[EQUAL].rates == ((5.0, 10.0), (5.0, 10.0))
    none = by_question["best restart - phase 0"]
    assert (none.points, none.verdict) == (0.0, "not shown")
    assert by_question["phase1 (cut decoder) - its bottom_up, one run each"].points == -20.0
    assert by_question["phase2 (cut encoder.1) - its restart, one run each"].points == 2.5


def test_seeds_of_an_utterance_move_together() -> None:
    """Opposite differences in the two seeds cancel in every utterance, and so in every resample."""
    worse = record(
        2,
        [
            phase("phase0", "base", 0.5, range(12)),
            phase("phase1", "top_down", 0.7, range(24), cut="decoder"),
        ],
    )
    contrast = answers(usual(1), worse)["best top-down phase - phase 0"]
    assert contrast.points == 0.0
    assert contrast.utterances == contrast.speakers == (0.0, 0.0)


def test_a_set_that_a_phase_was_not_decoded_on_answers_nothing_about_it() -> None:
    base, top, *others = usual(1).phases
    by_question = answers(record(1, [base, replace(top, hypotheses={}), *others]))
    assert "phase1 (cut decoder) - phase 0" not in by_question
    assert "phase2 (cut encoder.1) - phase 0" in by_question


def test_texts_of_records_are_counted_as_trn_files_are() -> None:
    """ASCII case is folded, ``@`` is no word, a tag is dropped, an empty text is all deletions."""
    texts = {NAMES[0]: "ONE  two @ three four;tag", NAMES[1]: ""}
    base, *others = usual(1).phases
    one = record(1, [replace(base, hypotheses={SET: texts}), *others])
    pairs = contrasts.pairs_of(one, one.phases[0], SET)
    assert pairs[0][0].tokens == pairs[0][1].tokens == ("one", "two", "three", "four")
    assert (pairs[1][1].tokens, pairs[1][1].speaker) == ((), "s1")
    # 4 errors of 240 words.
    rates = answers(one)["phase1 (cut decoder) - phase 0"].rates
    assert rates[0][1] == 100 * 4 / 240
