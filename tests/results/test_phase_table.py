"""The table of phases says what was trained, what dev says, and what is not there."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_phases import phase

from espnet_topdown import files
from espnet_topdown.results.phase_table import phases_table
from espnet_topdown.results.rows import PhaseResult, perplexities_of


def test_phases_by_hand(rows: list[PhaseResult]) -> None:
    phases = phases_table(rows, decoded=True)
    dev = ("0.500", "yes", "best")
    effort = ("3", "30.0 min", "3 (30.0 min)")
    assert phases.rows[1] == ("p1", "top_down", "decoder", "25.0 %", *dev, "1000", *effort)
    (dev_note, controls, effort_note) = phases.notes
    assert effort_note.startswith("To phase 0's best: epochs")
    assert dev_note.startswith("dev: valid acc max. It alone decides")
    assert controls.startswith("Controls (restart, ")


def test_candidates_of_every_kind_leave_controls_unmentioned(tmp_path: Path) -> None:
    thawed = phase(tmp_path, "p2", "continue", role="candidate")
    (note,) = phases_table([thawed], decoded=True).notes
    assert "Controls" not in note


def test_controls_are_not_known_by_a_kind_that_a_candidate_has(tmp_path: Path) -> None:
    drawn = phase(tmp_path, "p1", "restart", role="candidate")
    slow = phase(tmp_path, "slow_p1", "slow", role="control")
    plain = phase(tmp_path, "restart_p1", "restart", role="control")
    told = "Controls, of whatever kind, have - under accepted; they are never accepted or best."
    assert told in phases_table([slow], decoded=True).notes
    assert told in phases_table([drawn, plain], decoded=True).notes
    assert told not in phases_table([plain], decoded=True).notes


@pytest.mark.parametrize(
    ("kind", "learning", "frozen", "is_shown"),
    [
        ("slow", {"output": 0.1}, (), True),
        ("continue", {"output": 1.0, "encoder.0": 1.0}, (), False),
        ("continue", {"output": 0.25, "encoder.0": 0.25}, (), True),
        ("continue", {"encoder.0": 1.0}, ("output",), True),
        # What the base's freeze_param freezes learns at the kind's factor all the same.
        ("continue", {"output": 1.0, "encoder.0": 1.0}, ("encoder.0",), False),
        ("unfrozen", {"output": 1.0}, ("encoder.0",), False),
        ("bottom_up", {"encoder.0": 0.5}, (), True),
        ("bottom_up", {}, ("encoder.0",), False),
    ],
)
def test_factors_have_a_column_where_the_kind_does_not_tell_them(
    tmp_path: Path, kind: str, learning: dict[str, float], frozen: tuple[str, ...], is_shown: bool
) -> None:
    row = phase(tmp_path, "p1", kind, factors=learning, frozen=frozen, kept_lr="0.1")
    table = phases_table([phase(tmp_path, "phase0", "base"), row], decoded=True)
    assert ("kept_lr" in table.header) == is_shown


def test_what_the_median_rule_ended_is_told_and_why_it_is_not_compared(tmp_path: Path) -> None:
    ended = phase(tmp_path, "p3", "top_down", stop_from=2, stopped=3)
    spared = phase(tmp_path, "p4", "top_down", stop_from=2)
    (_, told, why) = phases_table([ended, spared], decoded=True).notes
    assert told == "p3: stopped at epoch 3 by the median rule, on dev."
    assert "is compared with no other phase, except where the best is asked for" in why


def test_what_phases_read_and_what_their_dev_values_are_of_is_told(tmp_path: Path) -> None:
    noisy = {"reads": "train noisy, valid dev_noisy", "dev_set": "dump/raw/dev_noisy"}
    base = phase(tmp_path, "phase0", "base", dev=0.9)
    first = phase(tmp_path, "p1", "top_down", cut="decoder", dev=0.6, base_dev=0.4, **noisy)
    other = phase(tmp_path, "p2", "bottom_up", dev=0.3, reads="tokens char", dev_set="c/tokens.txt")
    table = phases_table([base, first, other], decoded=True)
    place = table.header.index("reads")
    assert [row[place] for row in table.rows] == [
        "-",
        "train noisy, valid dev_noisy",
        "tokens char",
    ]
    assert (
        "The dev values of p1 are on dump/raw/dev_noisy (phase 0 has 0.400), and are compared with"
        " no value on other data or tokens."
    ) in table.notes
    assert any("c/tokens.txt (phase 0 has no value there)" in note for note in table.notes)
    assert not any(note.startswith("Accepted on") for note in table.notes)
    rejected = phases_table([base, replace(first, accepted=False)], decoded=True).notes
    said = (
        "A phase is accepted on dump/raw/dev_noisy where it is better there than the best before it"
    )
    assert any(note.startswith(said) for note in rejected)
    assert "reads" not in phases_table([base], decoded=True).header


def test_dev_values_of_several_seeds_name_phases_once_and_what_their_bases_have(
    tmp_path: Path,
) -> None:
    noisy = {"cut": "decoder", "dev_set": "dev_noisy"}
    rows = [
        phase(tmp_path, f"{seed}/{name}", "top_down", base_dev=base, **noisy)
        for seed, base in ((1, 0.5), (2, 0.43), (3, 0.47))
        for name in ("low", "both")
    ]
    rows.append(phase(tmp_path, "3/both_on_dev", "top_down", cut="decoder"))
    notes = "\n".join(phases_table(rows, decoded=True).notes)
    assert "The dev values of low, both are on dev_noisy (phase 0 has 0.430 to 0.500)" in notes
    # Of two cascades one phase is on another set.
    rows[-1] = phase(tmp_path, "4/both", "top_down", cut="decoder")
    notes = "\n".join(phases_table(rows, decoded=True).notes)
    assert "The dev values of low, 1/both, 2/both, 3/both are on dev_noisy" in notes


def test_a_language_model_shows_perplexities(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", perplexity={"test": 70.25})
    other = phase(tmp_path, "p1", "top_down")
    phases = phases_table([base, other], decoded=False)
    assert phases.header[-1] == "ppl test"
    assert [row[-1] for row in phases.rows] == ["70.25", "-"]
    assert "No phase was decoded" not in phases.notes[-1]


def test_texts_of_few_tokens_are_told_from_others(tmp_path: Path) -> None:
    measured = [
        {"text": f"data/{name}/text", "kind": "stream", "targets": targets, "perplexity": 70.0}
        for name, targets in (("test", 100), ("tiny", 99))
    ]
    files.write_json(tmp_path / "perplexity.json", measured)
    told = perplexities_of(tmp_path)
    assert told["perplexity"] == {"test (stream)": 70.0, "tiny (stream)": 70.0}
    assert told["small_texts"] == ("tiny (stream)",)


def test_nothing_decoded_is_said(tmp_path: Path) -> None:
    phases = phases_table([phase(tmp_path, "base", "base")], decoded=False)
    assert phases.notes[-1] == "No phase was decoded, so there are no error rates."


def test_what_is_not_finished_is_listed(rows: list[PhaseResult]) -> None:
    unfinished = ["phase3 (failed)", "restart_phase3 (not begun)"]
    notes = phases_table(rows, decoded=True, unfinished=unfinished).notes
    assert "Not finished: phase3 (failed), restart_phase3 (not begun)." in notes
