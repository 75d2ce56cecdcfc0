"""Decodings of phases and of their phase 0 are told to be the same, or to be missing."""

from pathlib import Path

import pytest
from made_phases import phase

from espnet_topdown.results.decodings import config_notes, matched
from espnet_topdown.results.rows import PhaseResult

TEN = "decode_asr_model_valid.acc.ave_10best"
LINK = "decode_asr_model_valid.acc.ave"


@pytest.fixture
def rows(tmp_path: Path) -> list[PhaseResult]:
    """A phase 0 and two phases, whose valid.acc.ave.pth is a link to the mean of ten epochs."""
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    rows.append(phase(tmp_path, "p2", "top_down"))
    for row in rows:
        row.directory.mkdir(exist_ok=True)
        (row.directory / "valid.acc.ave_10best.pth").touch()
        (row.directory / "valid.acc.ave.pth").symlink_to("valid.acc.ave_10best.pth")
    return rows


def test_a_link_and_its_file_are_one_decoding(rows: list[PhaseResult]) -> None:
    base, phase1 = {(TEN, "test", "wer"): 1}, {(LINK, "test", "wer"): 2}
    assert matched(rows, [base, phase1, {}]) == ([base, {(TEN, "test", "wer"): 2}, {}], [])


def test_other_decodings_of_phase_0_are_left_out_and_told(rows: list[PhaseResult]) -> None:
    other, mine = ("beam1", "test", "wer"), ("beam9", "test", "wer")
    dev = ("beam1", "dev", "wer")
    decoded, notes = matched(rows, [{other: 1, dev: 1}, {mine: 2}, {mine: 3}])
    # No phase was decoded on dev, so phase 0's is shown.
    assert decoded == [{dev: 1}, {mine: 2}, {mine: 3}]
    assert [note.partition(";")[0] for note in notes] == [
        "Missing: test decoded as beam9, of phase 0",
        "Missing: test decoded as beam1, of phases",
    ]


def test_decodings_of_one_name_by_other_configs_are_told(rows: list[PhaseResult]) -> None:
    """A config may be edited after phase 0 was decoded, or while phases are."""
    for row, name, text in zip(
        rows,
        (TEN, LINK, LINK),
        ("beam_size: 3\n", "# as it was\nbeam_size: 3  # small\n", "beam_size: 30\n"),
        strict=True,
    ):
        (row.directory / name / "org/dev").mkdir(parents=True)
        (row.directory / name / "org/dev/inference_config.yaml").write_text(text)
    (note,) = config_notes(rows)
    assert note.startswith(
        f"{TEN}/org/dev of p2: decoded by another config than base (inference_config.y"
    )
    (rows[2].directory / LINK / "org/dev/inference_config.yaml").write_text("beam_size: 3")
    assert config_notes(rows) == []


def test_nothing_is_missing_where_phase_0_alone_was_decoded(rows: list[PhaseResult]) -> None:
    base = {(TEN, "test", "wer"): 1}
    assert matched(rows, [base, {}, {}]) == ([base, {}, {}], [])
