"""Pictures show the numbers they are given, and tell phases apart without colour."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from made_phases import compared, phase, sentences  # noqa: E402
from transcripts import INFERENCE, write_scored  # noqa: E402

from espnet_topdown.plan.kinds import BASE_KIND, KINDS  # noqa: E402
from espnet_topdown.results import error_picture, pictures, plots  # noqa: E402
from espnet_topdown.results.looks import LOOKS  # noqa: E402
from espnet_topdown.results.rows import PhaseResult  # noqa: E402


@pytest.fixture
def rows(tmp_path: Path) -> list[PhaseResult]:
    return [
        phase(tmp_path, "base", "base", wrong=12),
        phase(tmp_path, "p1", "top_down", cut="decoder", wrong=7, best=True),
        phase(tmp_path, "unfrozen_p1", "unfrozen", cut="decoder", wrong=9),
        phase(tmp_path, "restart_p1", "restart", hours=None, curve=()),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(tmp_path: Path, kind: str) -> None:
    cut = "decoder" if KINDS[kind].has_cut else None
    base = phase(tmp_path, "base", "base", wrong=2)
    other = phase(tmp_path, "p1", kind, cut=cut, wrong=1)
    drawn = plots.figures([base, other], compared([base, other]))
    assert list(drawn) == [plots.SHARE_AND_COST, plots.DEV_CURVES, plots.ERROR_BY_CUT]
    assert LOOKS[kind] != LOOKS[BASE_KIND]


def test_every_kind_has_a_look_of_its_own_in_the_order_of_legends() -> None:
    assert list(LOOKS) == [BASE_KIND, *KINDS]
    assert len(set(LOOKS.values())) == len(LOOKS)


def test_a_set_that_was_decoded_in_two_ways_has_a_panel_for_each(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", wrong=2)
    write_scored(base.directory, "test", sentences(), sentences(7), inference="decode_lm")
    panels = error_picture.error_panels([base], compared([base]))
    assert [point.value for (point,) in panels.values()] == [100 * 7 / 120, 100 * 2 / 120]
    figure = error_picture.error_by_cut([base], panels)
    titles = [(axes.get_ylabel(), axes.get_title(loc="left")) for axes in figure.axes]
    assert titles == [("WER %, test", "decode_lm"), ("WER %, test", INFERENCE)]


def test_curves_skip_epochs_without_a_value(rows: list[PhaseResult]) -> None:
    whole, tail = pictures.dev_curves(rows).axes
    for axes in (whole, tail):
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 0.3], [3, 0.5]]] * 3
        assert [line.get_linewidth() > 2 for line in axes.lines] == [False, True, False]
    assert len({(line.get_marker(), line.get_color()) for line in whole.lines}) == 3
    assert whole.get_ylabel() == "valid acc (higher is better)"
    # Around the best value of all, 0.5.
    low, high = tail.get_ylim()
    assert 0.3 < low < 0.5 < high


def test_curves_on_different_dev_sets_have_axes_of_their_own(rows: list[PhaseResult]) -> None:
    noisy = [replace(row, name=f"noisy_{row.name}", dev_set="dev_noisy") for row in rows[1:3]]
    figure = pictures.dev_curves([*rows, *noisy])
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 2, 2]
    assert [axes.get_title() for axes in figure.axes[::2]] == ["", "on dev_noisy"]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 5


def test_phases_of_one_kind_differ_without_colour(tmp_path: Path) -> None:
    names = [f"p{k}" for k in range(16)]
    alike = [phase(tmp_path, name, "top_down", cut="decoder") for name in names]
    whole, _ = pictures.dev_curves(alike).axes
    assert len({(line.get_linestyle(), line.get_fillstyle()) for line in whole.lines}) == 16


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(rows: list[PhaseResult]) -> None:
    (legend,) = pictures.dev_curves([*rows, replace(rows[1], name="_top")]).legends
    assert len(legend.get_texts()) == len([row for row in rows if row.curve]) + 1
    assert legend.get_texts()[-1].get_text().strip().startswith("_top (")


def test_long_labels_of_a_legend_have_a_column_of_their_own(rows: list[PhaseResult]) -> None:
    long = replace(rows[1], cut="encoder.2, dropout off, parent no_dropout, lr 0.001")
    legends = [pictures.dev_curves(shown).legends[0] for shown in (rows, [*rows, long])]
    assert [legend._ncols for legend in legends] == [2, 1]


def test_points_of_many_seeds_stay_in_the_column_of_their_cut(rows: list[PhaseResult]) -> None:
    """And those of a kind stand together."""
    shown = [replace(row, name=f"{seed}/{row.name}") for seed in range(11) for row in rows]
    panels = {"perplexity, test": [error_picture.Point(70.0)] * len(shown)}
    (axes,) = error_picture.error_by_cut(shown, panels).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    places: dict[str, list[tuple[float, str]]] = {label: [] for label in labels}
    for drawn in axes.containers:
        x = float(drawn.lines[0].get_xdata()[0])
        column = labels[round(x)]
        assert abs(x - round(x)) <= 0.4
        places[column].append((x, drawn.get_label()))
    assert sum(map(len, places.values())) == len(shown)
    for points in places.values():
        kinds = [kind for _, kind in sorted(points)]
        assert len(list(itertools.groupby(kinds))) == len(set(kinds))


def test_cuts_go_down_from_left_to_right(rows: list[PhaseResult]) -> None:
    shares = {"encoder.0": 0.8, "decoder": 0.25, "encoder.2": 0.5}
    cuts = [replace(rows[1], cut=cut, frozen_share=share) for cut, share in shares.items()]
    thaw = replace(rows[3], name="1/thaw_p1", kind="continue")
    shown = [thaw, rows[3], *cuts, rows[0]]
    expected = ["base", "decoder", "encoder.2", "encoder.0", "restart", "thaw_p1"]
    panels = {"perplexity, test": [error_picture.Point(70.0)] * len(shown)}
    (axes,) = error_picture.error_by_cut(shown, panels).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == expected


def test_phases_of_one_cut_on_different_data_stand_apart(rows: list[PhaseResult]) -> None:
    noisy = [replace(row, reads=f"train {level}") for level in ("b", "a") for row in rows[1:]]
    panels = {"perplexity, test": [error_picture.Point(70.0)] * (1 + len(noisy))}
    (axes,) = error_picture.error_by_cut([rows[0], *noisy], panels).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "base",
        "decoder,\ntrain b",
        "decoder,\ntrain a",
        "restart,\ntrain b",
        "restart,\ntrain a",
    ]


def test_phases_of_one_cut_stand_side_by_side(rows: list[PhaseResult]) -> None:
    panels = {"perplexity, test": [error_picture.Point(70.0)] * 4}
    (axes,) = error_picture.error_by_cut(rows, panels).axes
    places = [container.lines[0].get_xdata()[0] for container in axes.containers]
    half = error_picture.SPREAD / 2
    assert places == pytest.approx([0, 1 - half, 1 + half, 2])


def test_error_bars_are_the_interval_of_the_difference(rows: list[PhaseResult]) -> None:
    sets = compared(rows)
    panels = error_picture.error_panels(rows, sets)
    assert list(panels) == ["WER %, test"]
    assert panels["WER %, test"][3] is None
    (axes,) = error_picture.error_by_cut(rows, panels).axes
    cell = sets[0].cells[1]
    low, high = cell.change.interval
    rate_of_base = cell.score.err_rate - cell.change.points
    bar = axes.containers[1].lines[2][0].get_segments()[0]
    assert [y for _, y in bar] == pytest.approx([rate_of_base + low, rate_of_base + high])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["base", "decoder", "restart"]


def test_bars_show_share_and_time(rows: list[PhaseResult]) -> None:
    left, right = pictures.share_and_cost(rows).axes
    assert [bar.get_width() for bar in left.patches] == [25.0] * 4
    assert [bar.get_width() for bar in right.patches] == [30.0, 30.0, 30.0, 0]
    assert right.get_xlabel() == "training, minutes"
    assert right.texts[3].get_text() == "time unknown, 3 ep."
    assert len({bar.get_hatch() for bar in left.patches}) == 4


def test_long_labels_of_bars_have_two_lines_and_room(tmp_path: Path) -> None:
    own = {"reads": "train train_10dB, valid dev_10dB", "best": True}
    long = phase(tmp_path, "restart_snr10", "restart", **own)
    short = phase(tmp_path, "base", "base")
    figure = pictures.share_and_cost([short, long])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [
        "base\n(base)",
        "restart_snr10\n(restart, train train_10dB, valid dev_10dB) *",
    ]
    assert figure.get_figwidth() > pictures.share_and_cost([short]).get_figwidth()
    assert figure.get_supxlabel() == "* selected on dev"


def test_marks_of_a_selected_phase_are_explained_where_there_is_one(
    rows: list[PhaseResult],
) -> None:
    none = [replace(row, best=False) for row in rows]
    titles = [pictures.dev_curves(some).legends[0].get_title().get_text() for some in (rows, none)]
    assert titles == ["* selected on dev", ""]
    panels = {"perplexity, test": [error_picture.Point(70.0)] * len(rows)}
    figures = [error_picture.error_by_cut(some, panels) for some in (rows, none)]
    captions = [figure.legends[0].get_title().get_text() for figure in figures]
    assert ["ringed: selected on dev" in caption for caption in captions] == [True, False]


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    base = phase(tmp_path, "b$a^$", "base")
    write_scored(base.directory, "test_a$^$b", sentences(), sentences(3))
    assert plots.ERROR_BY_CUT in plots.pictures_of([base], compared([base])).png


def test_pictures_that_have_nothing_to_show_are_left_out(rows: list[PhaseResult]) -> None:
    drawn = plots.pictures_of(rows[3:], compared(rows[3:]))
    assert list(drawn.png) == [plots.SHARE_AND_COST]
    assert drawn.png[plots.SHARE_AND_COST].startswith(b"\x89PNG")


def test_a_pdf_is_the_same_each_time_with_letters_that_publishers_take(
    rows: list[PhaseResult],
) -> None:
    first, second = (plots.pdf(pictures.dev_curves(rows)) for _ in range(2))
    assert first.startswith(b"%PDF-")
    assert first == second
    assert b"/FontFile2" in first
    assert b"/Type3" not in first
