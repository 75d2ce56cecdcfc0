"""Pictures of a cascade as PNG bytes: dev curves, error rate against cut, share frozen and cost.

Phases differ by marker, line style and hatching besides colour (Okabe and Ito's palette), so that
print and colour-blind readers can tell them apart. matplotlib is imported inside, and only its
object interface is used.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from espnet_topdown.plan.kinds import BASE_KIND, KINDS, TOP_DOWN, drawing_order, has_own_name, look
from espnet_topdown.results.compare import Cell, PhaseResult, SetComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("-", "--", "-.", ":")
FILLS = ("full", "none", "left", "top")
WIDTH = 8.0  # inches
LEGEND_CHARACTERS = 45  # longest label that two columns of a legend hold
LEVEL_LABELS = 5  # categories on an axis that have room to be written level
SPREAD = 0.12  # of a category, between points that share it


def draw(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> dict[str, bytes]:
    """All pictures that the numbers allow, as file name -> PNG.

    Args:
        rows: phases in their order.
        sets: what `comparison.compare_sets(rows)` gave.
    """
    pictures = {"share_and_cost.png": _png(share_and_cost(rows))}
    if any(_points(row.curve) for row in rows):
        pictures["dev_curves.png"] = _png(dev_curves(rows))
    panels = error_panels(rows, sets)
    if panels:
        pictures["error_by_cut.png"] = _png(error_by_cut(rows, panels))
    return pictures


def _png(figure: "Figure") -> bytes:
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


def _tidy(axes: "Axes", grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)


def _points(curve: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(epoch, value) for epoch, value in enumerate(curve, 1) if value is not None]


def _label(row: PhaseResult) -> str:
    return f"{row.name} ({row.kind}{f', {row.cut}' if row.cut else ''}){' *' if row.best else ''}"


def dev_curves(rows: Sequence[PhaseResult]) -> "Figure":
    """Dev criterion of every phase by epoch, and the same around the best values, where phases are
    told apart.

    The selected phase is drawn thicker and starred.
    """
    from matplotlib.ticker import MaxNLocator

    shown = [row for row in rows if _points(row.curve)]
    columns = 2 if max(len(_label(row)) for row in shown) <= LEGEND_CHARACTERS else 1
    figure = _figure(4.2 + 0.34 * len(shown) / columns)
    panels = figure.subplots(1, 2)
    for axes in panels:
        drawn: Counter[str] = Counter()
        for row in shown:
            points = _points(row.curve)
            style = _look(row, drawn[row.kind]) | {"markevery": max(1, len(points) // 12)}
            drawn[row.kind] += 1
            axes.plot(*zip(*points), label=_label(row), **style)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(axes, "both")
    panels[0].set_ylabel(", ".join(dict.fromkeys(map(_criterion, rows))))
    panels[1].set_title("around the best values", fontsize=10)
    panels[1].set_ylim(*_tail(shown))
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        title="* selected on dev",
    )
    return figure


def _look(row: PhaseResult, before: int) -> dict[str, Any]:
    """Colour and marker of its kind, line style by the number of phases of that kind `before` it."""
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
    name, _, mode = row.dev_name.rpartition(" ")
    return f"{name} ({'higher' if mode == 'max' else 'lower'} is better)"


def _tail(rows: Sequence[PhaseResult]) -> tuple[float, float]:
    """Limits that hold the best value of every curve, with room around them."""
    bests = [
        (max if row.dev_name.endswith("max") else min)(value for _, value in _points(row.curve))
        for row in rows
    ]
    low, high = min(bests), max(bests)
    room = 0.6 * (high - low) or 0.02 * abs(high) or 1.0
    return low - room, high + room


def error_panels(
    rows: Sequence[PhaseResult], sets: Sequence[SetComparison]
) -> dict[str, list[Cell | float | None]]:
    """What `error_by_cut` draws: measure and set -> one value a phase.

    Word error rates and perplexities.
    """
    words = [found for found in sets if found.metric == "wer"]
    panels: dict[str, list[Cell | float | None]] = {
        f"WER %, {found.dataset}": [cell if cell.score else None for cell in found.cells]
        for found in words
    }
    names = dict.fromkeys(name for row in rows for name in row.perplexity or ())
    return panels | {
        f"perplexity, {name}": [(row.perplexity or {}).get(name) for row in rows] for name in names
    }


def error_by_cut(
    rows: Sequence[PhaseResult], panels: Mapping[str, Sequence[Cell | float | None]]
) -> "Figure":
    """Error rate of every phase at its cut, one panel a set.

    Bars are 95 % intervals of the difference to phase 0.
    """
    places = _places(rows)
    figure = _figure(0.9 + (2.9 if len(places) <= LEVEL_LABELS else 3.7) * len(panels))
    for axes, (name, values) in zip(
        figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True
    ):
        _error_panel(axes, rows, values, places)
        axes.set_ylabel(name)
    axes.set_xlabel("cut, or the kind of phase where there is none")
    several = sum(row.kind == BASE_KIND for row in rows) > 1
    handles = {label: handle for handle, label in zip(*_handles(figure))}
    caption = (
        f"{'band: phase 0 of all seeds' if several else 'line: phase 0'}; ringed: selected on dev"
    )
    if any(isinstance(value, Cell) for values in panels.values() for value in values):
        caption = f"bars: 95 % interval of the difference to phase 0; {caption}"
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=6,
        frameon=False,
        title=caption,
    )
    return figure


def _handles(figure: "Figure") -> tuple[list, list[str]]:
    """Legend entries of all panels."""
    pairs = [axes.get_legend_handles_labels() for axes in figure.axes]
    return [handle for handles, _ in pairs for handle in handles], [
        label for _, labels in pairs for label in labels
    ]


def _category(row: PhaseResult) -> str:
    """Cut, or kind where there is none.

    A control that a plan gave its own name stands by itself.
    """
    name = row.name.rpartition("/")[2]
    return row.cut or (name if has_own_name(row.kind, name) else row.kind)


def _places(rows: Sequence[PhaseResult]) -> list[str]:
    """Categories from left to right.

    Phase 0, cuts from the top of the model down, kinds without a cut.
    """
    depth = {
        row.cut: row.frozen_share for row in rows if row.cut and row.kind == TOP_DOWN
    }  # a lower cut freezes more
    places = dict.fromkeys(_category(row) for row in rows)
    cuts = {row.cut for row in rows if row.cut}
    order = {kind: drawing_order(kind) for kind in KINDS} | depth
    return sorted(
        places,
        key=lambda p: (p not in cuts and p != BASE_KIND, p in cuts, order.get(p, 1 + len(KINDS))),
    )


def _error_panel(
    axes: "Axes",
    rows: Sequence[PhaseResult],
    values: Sequence[Cell | float | None],
    places: list[str],
) -> None:
    at: dict[str, int] = {}
    alike = {place: sum(_category(row) == place for row in rows) for place in places}
    for row, value in zip(rows, values, strict=True):
        category = _category(row)
        at[category] = at.get(category, 0) + 1
        if value is None:
            continue
        x = places.index(category) + SPREAD * (at[category] - (alike[category] + 1) / 2)
        y, bars = _value_and_bars(value)
        kind = look(row.kind)
        style = {
            "color": kind.colour,
            "marker": kind.marker,
            "markersize": 7,
            "linestyle": "none",
        }
        axes.errorbar([x], [y], yerr=bars, capsize=4, label=row.kind, **style)
        if row.best:
            axes.plot(
                [x], [y], marker="o", markersize=16, fillstyle="none", color="0.3", linestyle="none"
            )
    bases = [
        _value_and_bars(v)[0]
        for row, v in zip(rows, values, strict=True)
        if row.kind == BASE_KIND and v is not None
    ]
    if len(bases) == 1:
        axes.axhline(bases[0], color="0.4", linestyle="--", linewidth=1)
    elif bases:
        axes.axhspan(min(bases), max(bases), color="0.9", zorder=0)
    labels = [place.replace(", ", ",\n") for place in places]
    axes.set_xticks(range(len(places)), labels, rotation=90 if len(places) > LEVEL_LABELS else 0)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_ylim(
        bottom=max(0.0, axes.get_ylim()[0])
    )  # an interval of a difference can reach below an error rate of 0
    _tidy(axes, "y")


def _value_and_bars(value: Cell | float) -> tuple[float, list[list[float]] | None]:
    if not isinstance(value, Cell):
        return value, None
    if value.change is None:
        return value.score.err_rate, None
    low, high = (bound - value.change.points for bound in value.change.interval)
    return value.score.err_rate, [[max(0.0, -low)], [max(0.0, high)]]


def share_and_cost(rows: Sequence[PhaseResult]) -> "Figure":
    """Share of frozen parameters and hours of training, a bar a phase."""
    figure = _figure(1.2 + 0.36 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    for y, row in enumerate(rows):
        kind = look(row.kind)
        style = {"edgecolor": kind.colour, "hatch": kind.hatch, "linewidth": 1.4}
        style["facecolor"] = "0.75" if row.kind == BASE_KIND else "white"
        share = 100 * row.frozen_share
        left.barh(y, share, **style)
        left.annotate(f"{share:.0f}", (share, y), (4, 0), textcoords="offset points", va="center")
        right.barh(y, row.hours or 0, **style)
        text = f"{'time unknown' if row.hours is None else f'{row.hours:.3g} h'}, {row.epochs} ep."
        right.annotate(text, (row.hours or 0, y), (4, 0), textcoords="offset points", va="center")
    left.set_yticks(range(len(rows)), [_label(row) for row in rows])
    left.invert_yaxis()
    left.set_xlabel("parameters frozen, % (* selected on dev)")
    left.set_xlim(0, 112)
    right.set_xlabel("training, hours")
    right.set_xlim(0, 2 * (max(row.hours or 0 for row in rows) or 1))
    for axes in (left, right):
        _tidy(axes, "x")
    return figure
