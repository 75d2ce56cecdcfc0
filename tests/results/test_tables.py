"""Tables say what the counts say: differences to phase 0, what is not decoded, what is doubtful."""

from pathlib import Path

import pytest
from made_phases import compared, phase, sentences
from transcripts import INFERENCE, write_scored

from espnet_topdown.results import page_data, tables
from espnet_topdown.results.rows import PhaseResult


def test_set_by_hand(rows: list[PhaseResult]) -> None:
    words, characters = (tables.set_table(rows, one) for one in compared(rows))
    counts = ("24", "120", "95.0", "5.0", "0.0", "0.0", "5.0", "25.0")
    # 6 of 24 utterances with one error fewer, of 5 words each: k of them in a resample give -k /
    # 1.2 points, and binomial(24, 1/4) has 2.5 % and less below 2 and above 10. One per speaker:
    # 5 points in every resample of them. 12 segments, differences six times 1 and six times 0:
    # mean 1/2, variance 3/11, z = sqrt(11)
    change = ("-5.00", "-8.33 to -1.67", "<0.001 (<0.001)")
    assert words.rows[1] == ("p1", "top_down", "decoder", "1000", *counts, *change)
    assert words.rows[0][-3:] == ("-", "-", "-")
    assert words.rows[2][-1] == "-"
    assert words.rows[3] == ("r1", "restart", "-", "1000", "not decoded", *["-"] * 10)
    assert characters.heading == f"CER: test ({INFERENCE})"
    size, few, interval, *_, segments = words.notes
    assert size == "120 reference words, 24 utterances, 6 speakers."
    assert "proves that the commands work" in few
    drawn = "10000 resamples of the 24 utterances and of the 6 speakers, the wider of each end"
    assert drawn in interval
    assert "there are as few as 12" in segments


def test_one_of_a_thing_is_no_plural(tmp_path: Path) -> None:
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    for row in rows:
        write_scored(row.directory, "test", [("1", "s", ["A"])], [("1", "s", ["B"])])
    notes = tables.set_table(rows, compared(rows)[0]).notes
    assert notes[0] == "1 reference word, 1 utterance, 1 speaker."
    for row in rows:
        write_scored(row.directory, "test", [("1", "s", ["A"] * 100)], [("1", "s", ["A"])])
    notes = tables.set_table(rows, compared(rows)[0]).notes
    assert "resamples of the 1 utterance;" in notes[2]


def test_many_speakers_are_named_as_what_is_drawn(tmp_path: Path) -> None:
    many = [(f"u{k:02d}", f"s{k % 20:02d}", ["A"] * 3) for k in range(40)]
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    for row in rows:
        write_scored(row.directory, "test", many, many)
    notes = tables.set_table(rows, compared(rows)[0]).notes
    assert "of the 20 speakers;" in notes[2]


def test_several_sets_stand_side_by_side(rows: list[PhaseResult]) -> None:
    """As the parts of eval2000 do."""
    for row, wrong in ((rows[0], 8), (rows[1], 0)):
        write_scored(row.directory, "eval", sentences(), sentences(wrong))
    (overview,) = tables.overview_tables(rows, compared(rows))
    assert overview.heading == f"WER of all sets ({INFERENCE})"
    assert overview.header == ("phase", "kind", "cut", "seed", "eval", "test")
    assert [line[4:] for line in overview.rows] == [
        ("6.7", "10.0"),
        ("0.0 (-6.67)", "5.0 (-5.00)"),
        ("-", "15.0 (+5.00)"),
        ("-", "-"),
    ]


def test_equal_segments_are_marked_as_a_sign_test(rows: list[PhaseResult]) -> None:
    for row, wrong in ((rows[0], 8), (rows[1], 0)):
        write_scored(row.directory, "test", sentences(), sentences(wrong))
    words = tables.set_table(rows[:2], compared(rows[:2])[0])
    assert words.rows[1][-1] == "0.008 (0.008) sign"
    assert words.notes[-1].startswith("sign:")


def test_data_hold_the_same_numbers(rows: list[PhaseResult]) -> None:
    words = page_data.set_data(rows, compared(rows)[0])
    base, better, _, undecoded = words["cells"]
    assert (base["base"], better["base"]) == ("base", "base")
    assert better["change"]["points"] == -5.0
    assert better["change"]["interval"] == pytest.approx((-10 / 1.2, -2 / 1.2))
    assert better["score"]["errors"] == 6
    assert undecoded["score"] is None


def test_data_of_a_phase_are_finite_and_name_no_place(tmp_path: Path) -> None:
    row = phase(tmp_path, "p1", "top_down", dev=float("nan"))
    data = page_data.phase_data(row)
    assert (data["dev"], data["directory"], data["role"]) == (None, "p1", "candidate")


@pytest.mark.parametrize("dataset", ["org/dev", "dev"])
def test_no_p_value_on_the_set_that_selected_the_phase(
    rows: list[PhaseResult], dataset: str
) -> None:
    for row, wrong in ((rows[0], 12), (rows[1], 6)):
        write_scored(row.directory, dataset, sentences(), sentences(wrong))
    by_set = {}
    for one in compared(rows, selected_on=["dev"]):
        if one.metric == "wer":
            by_set[one.dataset] = tables.set_table(rows, one)
    assert by_set["test"].rows[1][-1] == "<0.001 (<0.001)"
    assert by_set[dataset].rows[1][-1] == "-"
    assert any("this set selected the phase" in note for note in by_set[dataset].notes)
    assert not any("this set selected the phase" in note for note in by_set["test"].notes)


def small_rows(directory: Path, words: int, **more: object) -> list[PhaseResult]:
    """Phase 0, which has a word wrong, and a better phase, on a set of so many words of "TEN"."""
    rows = []
    for name, kind, wrong in (("base", "base", 1), ("p1", "top_down", 0)):
        rows.append(phase(directory, name, kind, best=kind != "base", **more))
        heard = ["ELEVEN"] * wrong + ["TEN"] * (words - wrong)
        said = [("1", "s", ["TEN"] * words)]
        write_scored(rows[-1].directory, "test", said, [("1", "s", heard)])
    return rows


def test_a_set_under_100_words_has_no_differences(tmp_path: Path) -> None:
    rows = small_rows(tmp_path, 99)
    for one in compared(rows):
        table = tables.set_table(rows, one)
        assert table.header == ("phase", "kind", "cut", "seed", *tables.COUNTS)
        assert {len(line) for line in table.rows} == {len(table.header)}
        assert "no difference is given (below 100 words)" in table.notes[1]
        assert not any("bootstrap" in note or "MAPSSWE" in note for note in table.notes)
        data = page_data.set_data(rows, one)["cells"]
        assert [(cell["change"], cell["mapsswe"]) for cell in data] == [(None, None)] * 2
        pair = tables.pair_table(("a", "b"), one)
        assert pair.header == ("experiment", *tables.COUNTS)


def test_a_set_of_100_words_has_differences(tmp_path: Path) -> None:
    rows = small_rows(tmp_path, 100)
    # Its characters are below the bound of a set that has no words: the words decide.
    for one in compared(rows):
        assert "95 % interval" in tables.set_table(rows, one).header


def test_small_sets_side_by_side_have_no_differences(tmp_path: Path) -> None:
    rows = small_rows(tmp_path, 99)
    for row in rows:
        write_scored(row.directory, "eval", [("1", "s", ["TEN"])], [("1", "s", ["TEN"])])
    (overview,) = tables.overview_tables(rows, compared(rows))
    assert [line[4:] for line in overview.rows] == [("0.0", "1.0"), ("0.0", "0.0")]
    assert overview.notes == ("Err: all errors in percent of the reference words.",)
