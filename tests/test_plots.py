"""Pictures show the numbers they are given, and tell phases apart without colour."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from test_tables import phase  # noqa: E402

from espnet_topdown import plots  # noqa: E402
from espnet_topdown.comparison import PhaseResult, compare_sets  # noqa: E402


@pytest.fixture
def rows(tmp_path: Path) -> list[PhaseResult]:
    return [
        phase(tmp_path, "base", "base", wrong=12),
        phase(tmp_path, "p1", "top_down", cut="decoder", wrong=7, best=True),
        phase(tmp_path, "u1", "unfrozen", cut="decoder", wrong=9),
        phase(tmp_path, "r1", "restart", hours=None, curve=()),
    ]


def test_curves_skip_epochs_without_a_value(rows: list[PhaseResult]) -> None:
    (axes,) = plots.dev_curves(rows).axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 0.3], [3, 0.5]]] * 3
    styles = {(line.get_marker(), line.get_linestyle()) for line in axes.lines}
    assert len(styles) == 3 and axes.get_ylabel() == "valid acc max"
    assert [line.get_linewidth() > 2 for line in axes.lines] == [False, True, False]


def test_seven_times_as_many_phases_still_differ_without_colour() -> None:
    looks = {(k % len(plots.MARKERS), k % len(plots.LINES), k % len(plots.COLOURS)) for k in range(28)}
    assert len(looks) == 28


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
    assert list(pictures) == ["share_and_cost.png"] and pictures["share_and_cost.png"].startswith(b"\x89PNG")
