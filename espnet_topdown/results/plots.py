"""Pictures of a cascade as PNG and PDF: dev curves, error rate by cut, share frozen and cost.

Phases differ by marker, line style and hatching besides colour, so that print and colour-blind
readers can tell them apart. matplotlib is imported inside, and only its object interface is used.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from espnet_topdown.experiment.quality import best_of, sign
from espnet_topdown.plan.kinds import BASE_KIND, KINDS, TOP_DOWN, drawing_order, has_own_name, look
from espnet_topdown.results.cells import time_text
from espnet_topdown.results.compare import Cell, SetComparison
from espnet_topdown.results.rows import PhaseResult, texts_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEV_CURVES = "dev_curves.png"
ERROR_BY_CUT = "error_by_cut.png"
SHARE_AND_COST = "share_and_cost.png"
LINES = ("-", "--", "-.", ":")
FILLS = ("full", "none", "left", "top")
# Inches.
WIDTH = 8.0
# Longest label that two columns of a legend hold.
LEGEND_CHARACTERS = 45
# Categories on an axis that have room to be written level.
LEVEL_LABELS = 5
# Of a category, between points that share it.
SPREAD = 0.12


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
        return [[max(0.0, self.value - low)], [max(0.0, high - self.value)]]


Panels = Mapping[str, Sequence[Point | None]]  # label -> a point a phase, None where it has none


def draw(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> dict[str, bytes]:
    """All pictures that the numbers allow, as file name -> PNG; the arguments are `figures`'s."""
    return {name: png(figure) for name, figure in figures(rows, sets).items()}


def figures(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> dict[str, "Figure"]:
    """All pictures that the numbers allow, as name of the PNG file -> figure.

    Args:
        rows: phases in their order.
        sets: what `compare.compare_sets` made of them.
    """
    drawn = {SHARE_AND_COST: share_and_cost(rows)}
    if any(_points(row.curve) for row in rows):
        drawn[DEV_CURVES] = dev_curves(rows)
    panels = error_panels(rows, sets)
    if panels:
        drawn[ERROR_BY_CUT] = error_by_cut(rows, panels)
    return drawn


def title(name: str) -> str:
    """What the picture in the file `name` shows, in words."""
    return name.removesuffix(".png").replace("_", " ")


def pdf(figure: "Figure") -> bytes:
    """The figure as PDF for a paper: the same bytes each time, letters that a publisher takes."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    # Type 3 fonts, matplotlib's default, are refused by IEEE's checker of PDFs.
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(stream, format="pdf", metadata={"CreationDate": None})
    return stream.getvalue()


def png(figure: "Figure") -> bytes:
    """The figure as PNG with a palette, a third of the size that true colour has."""
    from PIL import Image

    drawn, stream = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    # Lines of few colours on white: 64 hold all of them and their smooth edges.
    picture = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(stream, format="png", optimize=True, dpi=(150, 150))
    return stream.getvalue()


def _figure(height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: "Axes", grid: Literal["both", "x", "y"]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)


def _points(curve: Sequence[float | None]) -> list[tuple[int, float]]:
    """(epoch, value) of the epochs that have one."""
    return [(epoch, value) for epoch, value in enumerate(curve, 1) if value is not None]


def _label(row: PhaseResult) -> str:
    what = ", ".join(filter(None, [row.kind, row.cut, row.reads]))
    star = " *" if row.best else ""
    return f"{row.name} ({what}){star}"


def dev_curves(rows: Sequence[PhaseResult]) -> "Figure":
    """Dev criterion of every phase by epoch, whole and around the best values.

    Around the best values phases are told apart. The selected phase is drawn thicker and starred.
    """
    from matplotlib.ticker import MaxNLocator

    shown = [row for row in rows if _points(row.curve)]
    longest = max(len(_label(row)) for row in shown)
    columns = 2 if longest <= LEGEND_CHARACTERS else 1
    figure = _figure(4.2 + 0.34 * len(shown) / columns)
    whole, tail = figure.subplots(1, 2)
    for axes in (whole, tail):
        _draw_curves(axes, shown)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(axes, "both")
    whole.set_ylabel(", ".join(dict.fromkeys(map(_criterion, rows))))
    tail.set_title("around the best values", fontsize=10)
    tail.set_ylim(*_tail(shown))
    figure.legend(
        *whole.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        title="* selected on dev",
    )
    return figure


def _draw_curves(axes: "Axes", rows: Sequence[PhaseResult]) -> None:
    drawn: Counter[str] = Counter()
    for row in rows:
        epochs, values = zip(*_points(row.curve))
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
    name = row.dev_name.rpartition(" ")[0]
    better = "higher" if sign(row.dev_name) > 0 else "lower"
    return f"{name} ({better} is better)"


def _tail(rows: Sequence[PhaseResult]) -> tuple[float, float]:
    """Limits that hold the best value of every curve, with room around them."""
    bests = []
    for row in rows:
        values = [value for _, value in _points(row.curve)]
        bests.append(best_of(values, row.dev_name))
    low, high = min(bests), max(bests)
    # Where all are equal there is no spread to take the room from.
    room = 0.6 * (high - low) or 0.02 * abs(high) or 1.0
    return low - room, high + room


def error_panels(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> Panels:
    """What `error_by_cut` draws: word error rates by set, and perplexities by text."""
    panels = {}
    for compared in sets:
        if compared.metric == "wer":
            panels[f"WER %, {compared.dataset}"] = [Point.of(cell) for cell in compared.cells]
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
    figure = _figure(0.9 + panel_height * len(panels))
    stack = figure.subplots(len(panels), squeeze=False)[:, 0]
    legend: dict[str, Artist] = {}
    for axes, (name, points) in zip(stack, panels.items(), strict=True):
        _draw_errors(axes, rows, points, categories)
        axes.set_ylabel(name)
        handles, labels = axes.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    stack[-1].set_xlabel("cut, or the kind of phase where there is none")
    several = sum(row.is_base for row in rows) > 1
    caption = "band: phase 0 of all seeds" if several else "line: phase 0"
    caption += "; ringed: selected on dev"
    if any(point and point.interval for points in panels.values() for point in points):
        caption = f"bars: 95 % interval of the difference to phase 0; {caption}"
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside lower center",
        ncols=6,
        frameon=False,
        title=caption,
    )
    return figure


def _category(row: PhaseResult) -> str:
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
    last = 1.0 + len(KINDS)
    places: dict[str, tuple[int, float]] = {kind: (2, drawing_order(kind)) for kind in KINDS}
    places |= {cut: (1, depth.get(cut, last)) for cut in cuts}
    places[BASE_KIND] = (0, 0)
    categories = dict.fromkeys(map(_category, rows))
    return sorted(categories, key=lambda category: places.get(category, (2, last)))


def _draw_errors(
    axes: "Axes",
    rows: Sequence[PhaseResult],
    points: Sequence[Point | None],
    categories: list[str],
) -> None:
    base_values = []
    for row, point, x in zip(rows, points, _positions(rows, categories), strict=True):
        if point is None:
            continue
        kind = look(row.kind)
        axes.errorbar(
            [x],
            [point.value],
            yerr=point.bars(),
            capsize=4,
            label=row.kind,
            color=kind.colour,
            marker=kind.marker,
            markersize=7,
            linestyle="none",
        )
        if row.best:
            axes.plot([x], [point.value], "o", markersize=16, fillstyle="none", color="0.3")
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
    _tidy(axes, "y")


def _positions(rows: Sequence[PhaseResult], categories: list[str]) -> list[float]:
    """Where each phase stands on the axis of categories, beside others of its category."""
    sharing = Counter(map(_category, rows))
    before: Counter[str] = Counter()
    positions = []
    for row in rows:
        category = _category(row)
        before[category] += 1
        from_middle = before[category] - (sharing[category] + 1) / 2
        positions.append(categories.index(category) + SPREAD * from_middle)
    return positions


def share_and_cost(rows: Sequence[PhaseResult]) -> "Figure":
    """Share of frozen parameters and time of training, a bar a phase."""
    figure = _figure(1.2 + 0.36 * len(rows))
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
    left.set_yticks(range(len(rows)), [_label(row) for row in rows])
    left.invert_yaxis()
    left.set_xlabel("parameters frozen, % (* selected on dev)")
    left.set_xlim(0, 112)
    right.set_xlabel(f"training, {unit}")
    # Room for the text behind the bars, where no time is known too.
    right.set_xlim(0, 2 * (longest * scale or 1))
    for axes in (left, right):
        _tidy(axes, "x")
    return figure


def _annotate(axes: "Axes", x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center")
