"""The cuts of an `every`: from the first to the last, so many layers apart.

Those of a gradual thaw part no kept from fresh layers: each is the lowest layer that learns.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import KINDS, THAW
from espnet_topdown.plan.layers import cut_index
from espnet_topdown.plan.plan import Phase


class Walk(NamedTuple):
    """Where an `every` goes.

    Args:
        every: layers from one cut to the next.
        start: its first cut, None where that follows from what stands before.
        stop: its last, None for the lowest.
        held: layers that leave nothing to be drawn, being a matrix tied to a higher layer.
    """

    every: int
    start: str | None
    stop: str | None
    held: Collection[str] = ()


class Cuts(NamedTuple):
    """The cuts of an `every`, what a reader should know of them, and why there are none."""

    cuts: list[str]
    note: str | None = None
    fault: str | None = None


def cuts_of(walk: Walk, kind: str, names: Sequence[str], before: Sequence[Phase]) -> Cuts:
    """The cuts of an `every`.

    Args:
        walk: where it goes.
        kind: of its phases.
        names: layer names of the model, lowest first.
        before: the candidates that stand before it.

    Raises:
        TopdownError: `start` or `stop` is no layer.
    """
    if kind == THAW:
        return _thawed(walk, names, before)
    first = _first(walk, names, before)
    last = cut_index(names, walk.stop) if walk.stop else _lowest(walk, names)
    note = None
    # A plan is written for models of any depth: one cut at least, where there is room for one.
    if walk.start is None and first < last < first + walk.every:
        first = last
        note = (
            f"every: {walk.every} does not fit between the cut above and {names[last]}; cut there"
            f" instead, at {names[last]}"
        )
    cuts = [names[place] for place in range(first, last - 1, -walk.every)]
    return Cuts(cuts, note, None if cuts else _no_cut(walk, names, first, last))


def _thawed(walk: Walk, names: Sequence[str], before: Sequence[Phase]) -> Cuts:
    """Cuts of a gradual thaw, each of which frees so many layers more; the last is always one.

    It begins with as many from the top, or below those that the phase before has trained.
    """
    # Every layer can learn, so that the last is the lowest of all.
    last = cut_index(names, walk.stop) if walk.stop else 0
    first = max(_learned_top(names, before) - walk.every, last)
    if walk.start:
        first = cut_index(names, walk.start)
    if first < last:
        return Cuts([], fault=_no_cut(walk, names, first, last))
    return Cuts([*(names[place] for place in range(first, last, -walk.every)), names[last]])


def _no_cut(walk: Walk, names: Sequence[str], first: int, last: int) -> str:
    between = f"{names[max(first, 0)]} and {names[last]}"
    return f"every: {walk.every} gives no cut between {between}"


def _learned_top(names: Sequence[str], before: Sequence[Phase]) -> int:
    """Position from which upward the phase before trained all layers, but not all there are."""
    if not before:
        return len(names)
    try:
        frozen = before[-1].sides(names).frozen
    except TopdownError:
        return len(names)  # its fault is told with it
    held = [place for place, name in enumerate(names) if name in frozen]
    return held[-1] + 1 if held else len(names)


def _lowest(walk: Walk, names: Sequence[str]) -> int:
    """Position of the lowest cut that leaves something to be drawn."""
    for place, name in enumerate(names):
        if name not in walk.held:
            return place + 1
    return len(names)


def _first(walk: Walk, names: Sequence[str], before: Sequence[Phase]) -> int:
    """Position of the first cut: as asked, or below the last cut, or the top stack's lowest."""
    if walk.start:
        return cut_index(names, walk.start)
    # That of a thaw parts no kept from fresh layers.
    parted = [phase for phase in before if KINDS[phase.kind].has_cut]
    cuts = [phase.cut for phase in parted if phase.cut]
    if cuts:
        return cut_index(names, cuts[-1]) - walk.every
    if "decoder.0" in names:
        return cut_index(names, "decoder")
    return len(names) - 1
