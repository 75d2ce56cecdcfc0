"""A cascade in one table of plain words."""

from dataclasses import replace
from pathlib import Path

from made_phases import compared, phase
from transcripts import INFERENCE, write_scored

from espnet_topdown.results.page_data import summary
from espnet_topdown.results.pages import cascade_page
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.table import Table


def short(rows: list[PhaseResult]) -> Table:
    return summary(cascade_page(rows, compared(rows)).data)


def test_models_by_hand(tmp_path: Path) -> None:
    kept = {"frozen": ("encoder.1", "decoder.0", "output"), "cut": "encoder.1"}
    rows = [
        phase(tmp_path, "phase0", "base", wrong=12),
        phase(tmp_path, "phase1", "top_down", wrong=6, best=True, **kept),
        phase(tmp_path, "restart_phase1", "restart", role="control"),
        phase(tmp_path, "bottom_up_phase1", "bottom_up", cut="decoder", wrong=18, role="control"),
    ]
    table = short(rows)
    assert table.header == ["model", "what it is", "words wrong, test", "chosen by dev"]
    frozen = "keeps encoder.1, decoder.0, output frozen, the rest drawn and trained anew"
    again = "control: trained as usual once more, from another start"
    assert table.rows == [
        ("phase0", "trained as usual", "10.0 %", ""),
        ("phase1", frozen, "5.0 %", "chosen"),
        ("restart_phase1", again, "-", ""),
        ("bottom_up_phase1", "control: bottom_up, cut decoder", "15.0 %", ""),
    ]
    assert table.notes[0].startswith("test: 120 words;")
    assert "only several seeds can say" in table.notes[-1]


def test_what_kept_layers_do_and_what_is_read_stand_in_words(tmp_path: Path) -> None:
    both = {"decoder.0": 0.5, "output": 1.0}
    own = {"reads": "train noisy, valid dev_noisy"}
    all_on = {"encoder.0": 1.0, "decoder.0": 1.0, "output": 1.0}
    rows = [
        phase(tmp_path, "phase0", "base"),
        phase(tmp_path, "phase1", "slow", cut="decoder", factors={"decoder.0": 0.1, "output": 0.1}),
        phase(tmp_path, "phase2", "thaw", cut="decoder", frozen=("encoder.0",), factors=both),
        phase(tmp_path, "phase3", "thaw", factors=all_on),
        phase(tmp_path, "phase4", "slow", frozen=("output",), factors={"decoder.0": 0.5}, **own),
        phase(tmp_path, "restart_phase4", "restart", role="control", **own),
    ]
    drawn = "the rest drawn and trained anew"
    assert [what for _, what, *_ in short(rows).rows[1:]] == [
        f"trains decoder.0, output on at 0.1 of the learning rate, {drawn}",
        "keeps encoder.0 frozen, trains decoder.0, output on at 0.5 to 1 of the learning rate",
        "trains everything on",
        (
            f"keeps output frozen, trains decoder.0 on at 0.5 of the learning rate, {drawn}"
            " (train noisy, valid dev_noisy)"
        ),
        ("control: trained as usual once more, from another start (train noisy, valid dev_noisy)"),
    ]


def test_every_set_has_a_column(rows: list[PhaseResult]) -> None:
    write_scored(rows[0].directory, "eval", [("1", "s", ["A", "B"])], [("1", "s", ["A"])])
    table = short(rows)
    assert table.header[2:4] == ["words wrong, eval", "words wrong, test"]
    assert table.rows[0][2:4] == ("50.0 %", "10.0 %")


def test_a_set_that_was_decoded_in_two_ways_has_a_column_for_each(
    rows: list[PhaseResult],
) -> None:
    for row, wrong in zip(rows, (5, 1), strict=False):
        hyp = [["X"] * wrong + ["A"] * (16 - wrong)]
        said = [("1", "s", ["A"] * 16)]
        heard = [("1", "s", *hyp)]
        write_scored(row.directory, "test", said, heard, inference="decode_lm")
    table = short(rows)
    assert table.header[2:4] == [
        "words wrong, test (decode_lm)",
        f"words wrong, test ({INFERENCE})",
    ]
    # Halves up, as in the tables.
    assert [line[2] for line in table.rows[:2]] == ["31.3 %", "6.3 %"]


def test_a_language_model_has_perplexities(tmp_path: Path) -> None:
    base = phase(tmp_path, "phase0", "base")
    measured = replace(base, perplexity={"test (stream)": 70.253})
    table = short([measured, phase(tmp_path, "phase1", "top_down", cut="output")])
    assert table.header[2] == "perplexity, test (stream)"
    assert [line[2] for line in table.rows] == ["70.25", "-"]


def test_a_base_alone_asks_for_no_seeds(tmp_path: Path) -> None:
    table = short([phase(tmp_path, "phase0", "base", wrong=12)])
    assert not any("seeds" in note for note in table.notes)
