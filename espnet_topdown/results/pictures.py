"""Pictures of a cascade's training, a figure each: dev curves, share frozen and cost.

Phases differ by marker, line style and hatching besides colour, so that print and colour-blind
readers can tell them apart. matplotlib is imported inside, and only its object interface is used.
Error rates are drawn by `espnet_topdown.results.error_picture`; which pictures a page has is
`espnet_topdown.results.plots`'s part.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from espnet_topdown.experiment.quality import best_of, sign
from espnet_topdown.grouping import grouped
from espnet_topdown.results.cells import time_text
from espnet_topdown.results.looks import look
from espnet_topdown.results.rows import PhaseResult

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("-", "--", "-.", ":")
FILLS = ("full", "none", "left", "top")
# Inches.
WIDTH = 8.0
# Longest label of a bar that leaves room for the bars, and the width of a letter, inches.
BAR_CHARACTERS = 34
CHARACTER_WIDTH = 0.07
# Longest label that two columns of a legend hold.
LEGEND_CHARACTERS = 45


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """An empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: "Axes", grid: Literal["both", "x", "y"]) -> None:
    """Leave the two spines that are read, and a light grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)


def points_of(curve: Sequence[float | None]) -> list[tuple[int, float]]:
    """(epoch, value) of the epochs that have one."""
    return [(epoch, value) for epoch, value in enumerate(curve, 1) if value is not None]


def _label(row: PhaseResult, between: str = " ") -> str:
    what = ", ".join(filter(None, [row.kind, row.cut, row.reads]))
    star = " *" if row.best else ""
    # matplotlib leaves labels out that begin with an underscore.
    blank = " " if row.name.startswith("_") else ""
    return f"{blank}{row.name}{between}({what}){star}"


def _bar_labels(rows: Sequence[PhaseResult]) -> tuple[list[str], float]:
    """Labels of bars, on two lines where one is too long, and inches that they take beyond it."""
    labels = list(map(_label, rows))
    if max(map(len, labels)) > BAR_CHARACTERS:
        labels = [_label(row, "\n") for row in rows]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    return labels, CHARACTER_WIDTH * max(0, longest - BAR_CHARACTERS)


def dev_curves(rows: Sequence[PhaseResult]) -> "Figure":
    """Dev criterion of every phase by epoch, whole and around the best values.

    Around the best values phases are told apart. The selected phase is drawn thicker and starred.
    Curves on one dev set share their axes, and no others.
    """
    from matplotlib.ticker import MaxNLocator

    shown = [row for row in rows if points_of(row.curve)]
    longest = max(len(_label(row)) for row in shown)
    columns = 2 if longest <= LEGEND_CHARACTERS else 1
    by_set = grouped(shown, lambda row: row.dev_set)
    figure = new_figure(1.2 + 3 * len(by_set) + 0.34 * len(shown) / columns)
    legend: dict[str, Artist] = {}
    panels = figure.subplots(len(by_set), 2, squeeze=False)
    for (whole, tail), (dev_set, several) in zip(panels, by_set.items(), strict=True):
        for axes in (whole, tail):
            _draw_curves(axes, several)
            axes.set_xlabel("epoch")
            axes.set_xlim(left=0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            tidy(axes, "both")
        whole.set_ylabel(", ".join(dict.fromkeys(map(_criterion, several))))
        whole.set_title(f"on {dev_set}" if dev_set else "", fontsize=10)
        tail.set_title("around the best values", fontsize=10)
        tail.set_ylim(*_tail(several))
        handles, labels = whole.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        title="* selected on dev" if any(row.best for row in rows) else None,
    )
    return figure


def _draw_curves(axes: "Axes", rows: Sequence[PhaseResult]) -> None:
    drawn: Counter[str] = Counter()
    for row in rows:
        epochs, values = zip(*points_of(row.curve))
        style = _look(row, drawn[row.kind])
        markevery = max(1, len(epochs) // 12)
        axes.plot(epochs, values, label=_label(row), markevery=markevery, **style)
        drawn[row.kind] += 1


def _look(row: PhaseResult, before: int) -> dict[str, Any]:
    """Colour and marker of its kind, line style by how many of that kind were drawn `before`."""
    kind = look(row.kind)
    return {
        "color": kind.colour,
        "marker": kind.marker,
        "markersize": 4,
        "fillstyle": FILLS[before // len(LINES) % len(FILLS)],
        "linestyle": LINES[before % len(LINES)],
        "linewidth": 2.6 if row.best else 1.3,
    }


def _criterion(row: PhaseResult) -> str:
    """The dev criterion as an axis is labelled."""
    part, metric, mode = row.criterion
    better = "higher" if sign(mode) > 0 else "lower"
    return f"{part} {metric} ({better} is better)"


def _tail(rows: Sequence[PhaseResult]) -> tuple[float, float]:
    """Limits that hold the best value of every curve, with room around them."""
    bests = []
    for row in rows:
        values = [value for _, value in points_of(row.curve)]
        bests.append(best_of(values, row.criterion.mode))
    low, high = min(bests), max(bests)
    # Where all are equal there is no spread to take the room from.
    room = 0.6 * (high - low) or 0.02 * abs(high) or 1.0
    return low - room, high + room


def share_and_cost(rows: Sequence[PhaseResult]) -> "Figure":
    """Share of frozen parameters and time of training, a bar a phase."""
    labels, more = _bar_labels(rows)
    figure = new_figure(1.2 + 0.36 * len(rows), WIDTH + more)
    left, right = figure.subplots(1, 2, sharey=True)
    # A base that was trained elsewhere may have no times.
    hours = [row.hours or 0 for row in rows]
    longest = max(hours)
    unit, scale = ("hours", 1) if longest >= 1 else ("minutes", 60)
    for y, row in enumerate(rows):
        kind = look(row.kind)
        style = {
            "edgecolor": kind.colour,
            "facecolor": "0.75" if row.is_base else "white",
            "hatch": kind.hatch,
            "linewidth": 1.4,
        }
        share = 100 * row.frozen_share
        left.barh(y, share, **style)
        _annotate(left, share, y, f"{share:.0f}")
        time = "time unknown" if row.hours is None else time_text(row.hours)
        right.barh(y, hours[y] * scale, **style)
        _annotate(right, hours[y] * scale, y, f"{time}, {row.epochs} ep.")
    left.set_yticks(range(len(rows)), labels, fontsize="small")
    left.invert_yaxis()
    left.set_xlabel("parameters frozen, %")
    if any(row.best for row in rows):
        figure.supxlabel("* selected on dev", fontsize="small", x=0.0, ha="left")
    left.set_xlim(0, 112)
    right.set_xlabel(f"training, {unit}")
    # Room for the text behind the bars, where no time is known too.
    right.set_xlim(0, 2 * (longest * scale or 1))
    for axes in (left, right):
        tidy(axes, "x")
    return figure


def _annotate(axes: "Axes", x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center")
