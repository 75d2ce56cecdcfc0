"""Phases are compared with their own phase 0, by utterance, on what both were decoded on."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_phases import compared, phase, sentences
from transcripts import INFERENCE, write_scored

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.alternatives import parse
from espnet_topdown.results.cache import Decoded
from espnet_topdown.results.compare import compare_sets
from espnet_topdown.results.contrasts import RowPair, error_table
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.tables import set_table
from espnet_topdown.results.trn import Transcript

# Two-sided normal tail at z = sqrt(11), 0.00091: see `test_tables.test_cascade_by_hand`.
P_SQRT_11 = math.erfc(math.sqrt(11 / 2))


def texts(wrong: int) -> Decoded:
    """24 sentences by 6 speakers, as `made_phases.sentences`, without files."""
    pairs = []
    for said, heard in zip(sentences(), sentences(wrong), strict=True):
        name, speaker, _ = said
        ref, hyp = (Transcript(name, speaker, tuple(words)) for *_, words in (said, heard))
        pairs.append((ref, hyp))
    return Decoded.of(pairs)


def test_sets_are_values(tmp_path: Path) -> None:
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    key = ("decode", "test", "wer")
    (only,) = compare_sets(rows, [{key: texts(12)}, {key: texts(6)}])
    assert (only.inference, only.dataset, only.metric) == key
    assert [cell.score.errors for cell in only.cells] == [12, 6]
    assert [cell.change and cell.change.points for cell in only.cells] == [None, -5.0]


def test_other_tokens_are_shown_and_compared_with_none(tmp_path: Path) -> None:
    """A phase may have a BPE model of its own: the same utterances are other tokens."""
    rows = [phase(tmp_path, name, kind) for name, kind in (("base", "base"), ("p1", "top_down"))]
    rows.append(phase(tmp_path, "p2", "top_down"))
    key = ("decode", "test", "ter")
    whole, parted = ["ab", "c"] * 20, ["a", "b", "c"] * 20
    decoded = []
    for tokens in (whole, whole[:-1] + ["x"], parted):
        said = tuple(parted if tokens is parted else whole)
        pairs = [
            (Transcript(f"u{k}", "s", said), Transcript(f"u{k}", "s", tuple(tokens)))
            for k in range(6)
        ]
        decoded.append({key: Decoded.of(pairs)})
    (only,) = compare_sets(rows, decoded)
    assert [cell.score.errors for cell in only.cells] == [0, 6, 0]
    assert [cell.change is not None for cell in only.cells] == [False, True, False]
    assert any(
        note.startswith("The tokens of p2 are others") for note in set_table(rows, only).notes
    )
    # Words are the same for all, or the data are not.
    with pytest.raises(TopdownError, match="are not the same reference"):
        compare_sets(rows, [{("decode", "test", "wer"): one[key]} for one in decoded])


def heard(alternative: str, wrong: int) -> Decoded:
    """30 utterances, of which `wrong` have the first word of their alternative missed."""
    pairs = []
    for place in range(30):
        words = alternative.split()
        name, speaker = f"u{place:02d}", f"s{place % 2}"
        text = "{ gonna / going to go to } see it now"
        alternatives = parse(text)
        ref = Transcript(name, speaker, tuple(text.split()), alternatives=alternatives)
        said = words[1:] if place < wrong else words
        pairs.append((ref, Transcript(name, speaker, (*said, "see", "it", "now"))))
    return Decoded.of(pairs)


def test_a_difference_is_that_of_the_rates_where_alternatives_have_other_lengths(
    tmp_path: Path,
) -> None:
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    key = ("decode", "test", "wer")
    decoded = [{key: heard("gonna", 6)}, {key: heard("going to go to", 9)}]
    (only,) = compare_sets(rows, decoded)
    rates = [cell.score.err_rate for cell in only.cells]
    assert rates == [pytest.approx(100 * 6 / 120), pytest.approx(100 * 9 / 210)]
    change = only.cells[1].change
    assert change.points == pytest.approx(rates[1] - rates[0])
    low, high = change.interval
    assert low < change.points < high
    table = error_table("Contrasts", [RowPair("top - base", 1, 0)], rows, only)
    assert table.rows[0][-2:] == ("-0.71", f"{low:+.2f} to {high:+.2f}")


@pytest.mark.parametrize(
    ("speakers", "utterances", "units"),
    [
        (2, 6, ("utterances",)),
        (6, 12, ("utterances", "speakers")),
        (20, 40, ("speakers",)),
        # A speaker each: to draw speakers is to draw utterances.
        (20, 20, ("utterances",)),
    ],
)
def test_speakers_are_resampled_where_there_are_many(
    tmp_path: Path, speakers: int, utterances: int, units: tuple[str, ...]
) -> None:
    spoken = [(f"u{k:02d}", f"s{k % speakers:02d}", ["A"]) for k in range(utterances)]
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    for row in rows:
        write_scored(row.directory, "test", spoken, spoken)
    assert [(one.units, one.speakers) for one in compared(rows)] == [(units, speakers)] * 2


def test_each_cascade_has_its_own_phase_0(tmp_path: Path) -> None:
    rows = []
    for seed, (wrong_base, wrong) in enumerate(((12, 6), (18, 18))):
        directory = tmp_path / f"seed{seed}"
        rows.append(phase(directory, "base", "base", wrong=wrong_base, seed=seed))
        top = phase(
            directory, "p1", "top_down", cut="decoder", wrong=wrong, seed=seed + 1000, best=True
        )
        rows.append(top)
    words = compared(rows)[0]
    assert [cell.change and cell.change.points for cell in words.cells] == [None, -5.0, None, 0.0]
    assert words.cells[1].test.z == pytest.approx(math.sqrt(11))
    assert words.cells[1].p_holm == pytest.approx(2 * P_SQRT_11)
    assert (words.cells[3].test.segments, words.cells[3].p_holm) == (18, 1.0)


def test_p_values_are_corrected_over_all_sets(rows: list[PhaseResult]) -> None:
    for row, wrong in ((rows[0], 8), (rows[1], 0)):
        write_scored(row.directory, "eval", sentences(), sentences(wrong))
    cells = {one.dataset: one.cells[1] for one in compared(rows) if one.metric == "wer"}
    assert (cells["eval"].test.p, cells["test"].test.p) == (2 / 2**8, pytest.approx(P_SQRT_11))
    assert (cells["eval"].p_holm, cells["test"].p_holm) == (2 / 2**8, pytest.approx(2 * P_SQRT_11))


def test_files_in_another_order_are_paired_by_utterance(rows: list[PhaseResult]) -> None:
    write_scored(rows[0].directory, "test", sentences(), sentences(3))
    write_scored(rows[1].directory, "test", sentences()[::-1], sentences(3)[::-1])
    assert compared(rows)[0].cells[1].change.interval == (0.0, 0.0)


def test_words_characters_and_tokens_are_compared(rows: list[PhaseResult]) -> None:
    scored = rows[0].directory / INFERENCE / "test"
    shutil.copytree(scored / "score_wer", scored / "score_ter")
    sets = compared(rows)
    assert [one.metric for one in sets] == ["wer", "cer", "ter"]
    table = set_table(rows, sets[2])
    assert table.heading.startswith("TER: test")
    assert "reference tokens" in table.notes[0]
    # Errors and their differences, and no test of word errors.
    assert table.header[-1] == "95 % interval"


def test_different_utterances_cannot_be_compared(rows: list[PhaseResult]) -> None:
    write_scored(rows[1].directory, "test", sentences()[1:], sentences()[1:])
    message = (
        r"test of p1 and of base are not the same reference \(utterances: 23 and 24;"
        r" s0-s0-u00 differs\), so test cannot be compared"
    )
    with pytest.raises(TopdownError, match=message):
        compared(rows)


def test_another_text_of_the_same_length_cannot_be_compared(rows: list[PhaseResult]) -> None:
    other = [(name, speaker, ["FIVE", *words[1:]]) for name, speaker, words in sentences()]
    write_scored(rows[1].directory, "test", other, other)
    with pytest.raises(TopdownError, match=r"not the same reference .* s0-s0-u00 differs"):
        compared(rows)


def test_a_base_that_was_not_decoded_leaves_no_difference(rows: list[PhaseResult]) -> None:
    bare = replace(rows[0], directory=rows[3].directory)
    assert [cell.change for cell in compared([bare, *rows[1:]])[0].cells] == [None] * 4
