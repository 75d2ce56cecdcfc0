"""Phases against their controls, and cascades against one another, in a cascade's own results."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_phases import compared, phase

from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.results import contrasts, pages
from espnet_topdown.results.contrasts import CascadeRows
from espnet_topdown.results.questions import Runs
from espnet_topdown.results.rows import PhaseResult

Wrong = dict[str, int]
ACC = Criterion("valid", "acc", "max")


def cascade(directory: Path, wrong: Wrong, *, dev: float = 0.6) -> list[PhaseResult]:
    """Phase 0 with 12 errors in 120 words, phase1 and its controls with those of `wrong`."""
    rows = [phase(directory, "phase0", "base", wrong=12)]
    for name, errors in wrong.items():
        kind = "top_down" if name == "phase1" else name.removesuffix("_phase1")
        cut = "decoder" if kind in ("top_down", "bottom_up") else None
        role = "candidate" if name == "phase1" else "control"
        rows.append(phase(directory, name, kind, cut=cut, wrong=errors, dev=dev, role=role))
    return rows


def opened(directory: Path, base: Path, rows: list[PhaseResult]) -> SimpleNamespace:
    """What a page takes of a cascade."""
    return SimpleNamespace(
        rows=rows,
        paths=SimpleNamespace(directory=directory),
        base=SimpleNamespace(directory=base, seed=0),
        criterion=ACC,
    )


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Two cascades of one base."""
    monkeypatch.setattr(pages, "phase_results", lambda cascade: cascade.rows)
    wrong = {"phase1": 6, "restart_phase1": 8, "bottom_up_phase1": 18}
    first = cascade(tmp_path / "one", wrong)
    second = cascade(tmp_path / "other", {"phase1": 9, "restart_phase1": 8})
    base = tmp_path / "one" / "phase0"
    return [
        opened(tmp_path / "one", base, first),
        opened(tmp_path / "other", base, [first[0], *second[1:]]),
    ]


def test_rows_of_two_cascades_of_one_base_carry_their_names_and_share_phase_0(two) -> None:
    rows, parts = pages.parts_of(two)
    assert [row.name for row in rows] == [
        "phase0",
        *(f"one/{name}" for name in ("phase1", "restart_phase1", "bottom_up_phase1")),
        *(f"other/{name}" for name in ("phase1", "restart_phase1")),
    ]
    assert [part.places for part in parts] == [(0, 1, 2, 3), (0, 4, 5)]
    # Each is compared with the phase 0 that both have.
    changes = [cell.change and cell.change.points for cell in compared(rows)[0].cells]
    third = pytest.approx(-4 / 1.2)
    assert changes == [None, -5.0, third, 5.0, -2.5, third]


def test_the_base_that_one_of_two_cascades_found_best_is_marked(two) -> None:
    first, second = two
    first.rows[0] = replace(first.rows[0], best=False)
    first.rows[1] = replace(first.rows[1], best=True)
    second.rows = [replace(row, best=row.is_base) for row in second.rows]
    rows, _ = pages.parts_of(two)
    assert [row.name for row in rows if row.best] == ["phase0", "one/phase1"]


def test_cascades_of_other_bases_have_their_own_phase_0(two, tmp_path: Path) -> None:
    two[1].base.directory = tmp_path / "elsewhere"
    rows, parts = pages.parts_of(two)
    assert [row.name for row in rows if row.is_base] == ["one/phase0", "other/phase0"]
    assert not contrasts.of_cascades(parts)


def test_one_cascade_against_the_other_is_a_table(two) -> None:
    rows, parts = pages.parts_of(two)
    page = pages.cascade_page(rows, compared(rows), parts=parts)
    against = [
        table for table in page.tables if table.heading.startswith("Cascade against cascade: WER")
    ]
    assert [line[:6] for line in against[0].rows] == [
        ("best of one - best of other", "one/phase1", "other/phase1", "5.0", "7.5", "-2.50"),
        ("one/phase1 - other/phase1", "one/phase1", "other/phase1", "5.0", "7.5", "-2.50"),
        (
            "one/restart_phase1 - other/restart_phase1",
            *("one/restart_phase1", "other/restart_phase1"),
            "6.7",
            "6.7",
            "+0.00",
        ),
    ]


def test_a_single_cascade_sets_its_phases_against_their_controls(tmp_path: Path) -> None:
    rows = cascade(tmp_path, {"phase1": 6, "restart_phase1": 8, "bottom_up_phase1": 18})
    part = CascadeRows("", Runs(0, ACC, tuple(rows)), (0, 1, 2, 3))
    [table] = [
        contrasts.error_table("Controls", contrasts.of_controls([part]), rows, one)
        for one in compared(rows)
        if one.metric == "wer"
    ]
    assert [line[0] for line in table.rows] == [
        "best phase - best restart, as many runs each",
        "phase1 (cut decoder) - its restart, one run each",
        "phase1 (cut decoder) - its bottom_up, one run each",
    ]
    assert table.rows[2][3:6] == ("5.0", "15.0", "-10.00")
    # One seed says nothing about a way of training.
    assert not {"p", "verdict"} & set(table.header)
    assert "only several seeds can say" in table.notes[0]


def test_a_set_under_100_words_answers_no_question(tmp_path: Path) -> None:
    rows = cascade(tmp_path, {"phase1": 6, "restart_phase1": 8})
    part = CascadeRows("", Runs(0, ACC, tuple(rows)), (0, 1, 2))
    small = replace(compared(rows)[0], is_small=True)
    assert contrasts.error_table("Controls", contrasts.of_controls([part]), rows, small) is None


def test_a_text_of_few_tokens_has_no_difference_of_perplexities(tmp_path: Path) -> None:
    rows = cascade(tmp_path, {"phase1": 6, "restart_phase1": 8})
    given = {"perplexity": {"long": 70.0, "short": 60.0}, "small_texts": ("short",)}
    rows = [replace(row, **given) for row in rows]
    part = CascadeRows("", Runs(0, ACC, tuple(rows)), (0, 1, 2))
    table = contrasts.dev_table("Controls", contrasts.of_controls([part]), rows)
    assert table.header[-3:] == ["ppl long", "ppl long: difference", "ppl short"]
    assert table.rows[0][-3:] == ["70.00 - 70.00", "+0.00", "60.00 - 60.00"]


def test_a_control_that_was_not_decoded_is_left_out(tmp_path: Path) -> None:
    rows = cascade(tmp_path, {"phase1": 6, "restart_phase1": 8})
    rows[2] = replace(rows[2], directory=tmp_path)
    part = CascadeRows("", Runs(0, ACC, tuple(rows)), (0, 1, 2))
    (tmp_path / "empty").mkdir()
    rows[2] = replace(rows[2], directory=tmp_path / "empty")
    row_pairs = contrasts.of_controls([part])
    assert contrasts.error_table("Controls", row_pairs, rows, compared(rows)[0]) is None
    # Its dev value stands still.
    assert len(contrasts.dev_table("Controls", row_pairs, rows).rows) == 2


def test_phases_of_two_dev_sets_are_not_set_against_one_another(tmp_path: Path) -> None:
    noisy = phase(tmp_path, "phase1", "top_down", dev_set="noisy")
    restart = phase(tmp_path, "restart_phase1", "restart")
    pairs = [contrasts.RowPair("question", 0, 1)]
    assert contrasts.dev_table("Dev", pairs, [noisy, restart]) is None
