"""Pictures show the numbers they are given, and tell phases apart without colour."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from test_tables import phase  # noqa: E402

from espnet_topdown.results import plots  # noqa: E402
from espnet_topdown.results.compare import PhaseResult, compare_sets  # noqa: E402


@pytest.fixture
def rows(tmp_path: Path) -> list[PhaseResult]:
    return [
        phase(tmp_path, "base", "base", wrong=12),
        phase(tmp_path, "p1", "top_down", cut="decoder", wrong=7, best=True),
        phase(tmp_path, "unfrozen_p1", "unfrozen", cut="decoder", wrong=9),
        phase(tmp_path, "restart_p1", "restart", hours=None, curve=()),
    ]


def test_curves_skip_epochs_without_a_value(rows: list[PhaseResult]) -> None:
    whole, tail = plots.dev_curves(rows).axes
    for axes in (whole, tail):
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 0.3], [3, 0.5]]] * 3
        assert [line.get_linewidth() > 2 for line in axes.lines] == [False, True, False]
    assert len({(line.get_marker(), line.get_color()) for line in whole.lines}) == 3
    assert whole.get_ylabel() == "valid acc (higher is better)"
    low, high = tail.get_ylim()
    assert 0.3 < low < 0.5 < high  # around the best value of all, 0.5


def test_phases_of_one_kind_differ_without_colour(rows: list[PhaseResult]) -> None:
    looks = [plots._look(rows[1], before) for before in range(16)]
    assert len({(look["linestyle"], look["fillstyle"]) for look in looks}) == 16


def test_long_labels_of_a_legend_have_a_column_of_their_own(rows: list[PhaseResult]) -> None:
    from dataclasses import replace

    long = replace(rows[1], cut="encoder.2, dropout off, parent no_dropout, lr 0.001")
    assert [plots.dev_curves(shown).legends[0]._ncols for shown in (rows, [*rows, long])] == [2, 1]


def test_cuts_go_down_from_left_to_right(rows: list[PhaseResult]) -> None:
    from dataclasses import replace

    shares = {"encoder.0": 0.8, "decoder": 0.25, "encoder.2": 0.5}
    cuts = [replace(rows[1], cut=cut, frozen_share=share) for cut, share in shares.items()]
    thaw = replace(rows[3], name="1/thaw_p1", kind="continue")
    places = plots._places([thaw, rows[3], *cuts, rows[0]])
    assert places == ["base", "decoder", "encoder.2", "encoder.0", "restart", "thaw_p1"]


def test_error_bars_are_the_interval_of_the_difference(rows: list[PhaseResult]) -> None:
    sets = compare_sets(rows)
    panels = plots.error_panels(rows, sets)
    assert list(panels) == ["WER %, test"] and panels["WER %, test"][3] is None
    (axes,) = plots.error_by_cut(rows, panels).axes
    change, rate = sets[0].cells[1].change, sets[0].cells[1].score.err_rate
    bar = axes.containers[1].lines[2][0].get_segments()[0]
    assert (bar[0][1], bar[1][1]) == (
        pytest.approx(rate + change.interval[0] - change.points),
        pytest.approx(rate + change.interval[1] - change.points),
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["base", "decoder", "restart"]


def test_bars_show_share_and_hours(rows: list[PhaseResult]) -> None:
    left, right = plots.share_and_cost(rows).axes
    assert [bar.get_width() for bar in left.patches] == [25.0] * 4
    assert [bar.get_width() for bar in right.patches] == [0.5, 0.5, 0.5, 0]
    assert right.texts[3].get_text() == "time unknown, 3 ep."
    assert len({bar.get_hatch() for bar in left.patches}) == 4


def test_pictures_that_have_nothing_to_show_are_left_out(rows: list[PhaseResult]) -> None:
    pictures = plots.draw(rows[3:], compare_sets(rows[3:]))
    assert list(pictures) == ["share_and_cost.png"] and pictures["share_and_cost.png"].startswith(
        b"\x89PNG"
    )
