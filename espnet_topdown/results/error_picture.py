"""The picture of error rates by cut: a panel a set, a point a phase."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from espnet_topdown.grouping import grouped
from espnet_topdown.plan.kinds import BASE_KIND, TOP_DOWN, has_own_name
from espnet_topdown.results.comparison import Cell, SetComparison, of_words, titles
from espnet_topdown.results.looks import LOOKS, look
from espnet_topdown.results.pictures import new_figure, tidy
from espnet_topdown.results.rows import PhaseResult, texts_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Categories on an axis that have room to be written level.
LEVEL_LABELS = 5
# Of a category's width, between points that share it: less where they would leave it.
SPREAD = 0.12
SHARED = 0.8


@dataclass(frozen=True)
class Point:
    """An error rate or perplexity, and the 95 % interval of its difference to phase 0 around it."""

    value: float
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, cell: Cell) -> "Point | None":
        """The error rate of a phase on a set; None where it was not decoded."""
        if cell.score is None:
            return None
        rate = cell.score.err_rate
        if cell.change is None:
            return cls(rate)
        base_rate = rate - cell.change.points
        low, high = cell.change.interval
        return cls(rate, (base_rate + low, base_rate + high))

    def bars(self) -> list[list[float]] | None:
        """How far the interval reaches below and above, as matplotlib takes it."""
        if self.interval is None:
            return None
        low, high = self.interval
        below = max(0.0, self.value - low)
        above = max(0.0, high - self.value)
        return [[below], [above]]


Panels = Mapping[str, Sequence[Point | None]]  # label -> a point a phase, None where it has none


def error_panels(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> Panels:
    """What `error_by_cut` draws: word error rates by set, and perplexities by text."""
    spoken = of_words(sets)
    # The axis has no room for a decoding's name, which stands above.
    names = titles([(each.dataset, each.inference) for each in spoken], "{}\n{}")
    panels = {
        f"WER %, {name}": list(map(Point.of, compared.cells))
        for name, compared in zip(names, spoken, strict=True)
    }
    for text in texts_of(rows):
        points = [Point(row.perplexity[text]) if text in row.perplexity else None for row in rows]
        panels[f"perplexity, {text}"] = points
    return panels


def error_by_cut(rows: Sequence[PhaseResult], panels: Panels) -> "Figure":
    """Error rate of every phase at its cut, one panel a set.

    Bars are 95 % intervals of the difference to phase 0.
    """
    categories = _categories(rows)
    panel_height = 2.9 if len(categories) <= LEVEL_LABELS else 3.7
    figure = new_figure(0.9 + panel_height * len(panels))
    stack = figure.subplots(len(panels), squeeze=False)[:, 0]
    legend: dict[str, Artist] = {}
    for axes, (name, points) in zip(stack, panels.items(), strict=True):
        _draw_errors(axes, rows, points, categories)
        label, _, decoding = name.partition("\n")
        axes.set_ylabel(label)
        axes.set_title(decoding, fontsize="small", loc="left")
        handles, labels = axes.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    stack[-1].set_xlabel("cut, or the kind of phase where there is none")
    several = sum(row.is_base for row in rows) > 1
    drawn = filter(None, chain.from_iterable(panels.values()))
    caption = []
    if any(point.interval for point in drawn):
        caption.append("bars: 95 % interval of the difference to phase 0")
    caption.append("band: phase 0 of all seeds" if several else "line: phase 0")
    if any(row.best for row in rows):
        caption.append("ringed: selected on dev")
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside lower center",
        ncols=6,
        frameon=False,
        title="; ".join(caption),
    )
    return figure


def _category(row: PhaseResult) -> str:
    """Its column, and the data that it reads instead of the base's."""
    return ", ".join(filter(None, [_column(row), row.reads]))


def _column(row: PhaseResult) -> str:
    """Its cut, or its kind where it has none; a control with a name of its own stands alone."""
    if row.cut:
        return row.cut
    name = row.name.rpartition("/")[2]
    return name if has_own_name(row.kind, name) else row.kind


def _categories(rows: Sequence[PhaseResult]) -> list[str]:
    """From left to right: phase 0, cuts from the top of the model down, kinds without a cut."""
    cuts = {row.cut for row in rows if row.cut}
    # A lower cut freezes more.
    depth = {row.cut: row.frozen_share for row in rows if row.kind == TOP_DOWN}
    last = float(len(LOOKS))
    places: dict[str, tuple[int, float]] = {kind: (2, place) for place, kind in enumerate(LOOKS)}
    places |= {cut: (1, depth.get(cut, last)) for cut in cuts}
    places[BASE_KIND] = (0, 0)
    # Of one column on several data, in the order of the rows.
    columns = {_category(row): _column(row) for row in rows}
    return sorted(columns, key=lambda category: places.get(columns[category], (2, last)))


def _draw_errors(
    axes: "Axes",
    rows: Sequence[PhaseResult],
    points: Sequence[Point | None],
    categories: list[str],
) -> None:
    base_values: list[float] = []
    # So many that caps and marks of that size would hide one another.
    is_crowded = max(Counter(map(_category, rows)).values()) * SPREAD > SHARED
    ring = 10 if is_crowded else 16
    for row, point, x in zip(rows, points, _positions(rows, categories), strict=True):
        if point is None:
            continue
        kind = look(row.kind)
        axes.errorbar(
            [x],
            [point.value],
            yerr=point.bars(),
            capsize=0 if is_crowded else 4,
            elinewidth=0.7 if is_crowded else None,
            label=row.kind,
            color=kind.colour,
            marker=kind.marker,
            markersize=4 if is_crowded else 7,
            linestyle="none",
        )
        if row.best:
            axes.plot([x], [point.value], "o", markersize=ring, fillstyle="none", color="0.3")
        if row.is_base:
            base_values.append(point.value)
    if len(base_values) == 1:
        axes.axhline(base_values[0], color="0.4", linestyle="--", linewidth=1)
    elif base_values:
        axes.axhspan(min(base_values), max(base_values), color="0.9", zorder=0)
    labels = [category.replace(", ", ",\n") for category in categories]
    rotation = 90 if len(categories) > LEVEL_LABELS else 0
    axes.set_xticks(range(len(categories)), labels, rotation=rotation)
    axes.set_xlim(-0.5, len(categories) - 0.5)
    # An interval of a difference can reach below an error rate of 0.
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    tidy(axes, "y")


def _positions(rows: Sequence[PhaseResult], categories: list[str]) -> list[float]:
    """Where each phase stands on the axis of categories, beside others of its category and kind."""
    of_category = grouped(range(len(rows)), lambda number: _category(rows[number]))
    kinds = list(dict.fromkeys(row.kind for row in rows))
    positions = [0.0] * len(rows)
    for category, numbers in of_category.items():
        spread = min(SPREAD, SHARED / len(numbers))
        side_by_side = sorted(numbers, key=lambda number: kinds.index(rows[number].kind))
        for place, number in enumerate(side_by_side):
            from_middle = place - (len(numbers) - 1) / 2
            positions[number] = categories.index(category) + spread * from_middle
    return positions
