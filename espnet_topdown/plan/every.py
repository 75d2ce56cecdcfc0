"""The cuts of an `every`: from the first to the last, so many layers apart.

Those of a gradual thaw part no kept from fresh layers: each is the lowest layer that learns.
"""

import contextlib
from collections.abc import Collection, Sequence

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import KINDS, THAW
from espnet_topdown.plan.layer_names import cut_index
from espnet_topdown.plan.plan import Entry, Phase


def cuts_of(
    entry: Entry,
    kind: str,
    names: Sequence[str],
    before: Sequence[Phase],
    *,
    held: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """The cuts of an `every`, and notes of what a reader should know of them.

    Args:
        entry: the item, which has an `every`.
        kind: of its phases.
        names: layer names of the model, lowest first.
        before: the candidates that stand before it.
        held: layers that leave nothing to be drawn, being a matrix tied to a higher layer.

    Raises:
        TopdownError: `start` or `stop` is no layer, or there is no cut between them.
    """
    every = entry.every
    assert every is not None
    notes = []
    # Every layer of a thaw can learn, so that its last is the lowest of all.
    last = 0 if kind == THAW else _lowest(names, held)
    if entry.stop:
        last = cut_index(names, entry.stop)
    if entry.start:
        first = cut_index(names, entry.start)
    elif kind == THAW:
        # As many from the top, or below those that the phase before has trained.
        first = max(_learned_top(names, before) - every, last)
    else:
        first = _next_cut(every, names, before)
        # A plan is written for models of any depth: one cut at least, where there is room for one.
        if first < last < first + every:
            first = last
            notes.append(
                f"every: {every} does not fit between the cut above and {names[last]}; cut"
                f" there instead, at {names[last]}"
            )
    if first < last:
        between = f"{names[max(first, 0)]} and {names[last]}"
        raise TopdownError(f"every: {every} gives no cut between {between}")
    places = dict.fromkeys(range(first, last - 1, -every))
    if kind == THAW:
        places[last] = None  # the last of a thaw frees all that there is to free
    return [names[place] for place in places], notes


def _learned_top(names: Sequence[str], before: Sequence[Phase]) -> int:
    """Position from which upward the phase before trained all layers, but not all there are."""
    frozen: tuple[str, ...] = ()
    if before:
        with contextlib.suppress(TopdownError):  # its fault is told with it
            frozen = before[-1].sides(names).frozen
    # The layer above the highest frozen one; of those before none may be frozen.
    return max((names.index(name) + 1 for name in frozen), default=len(names))


def _lowest(names: Sequence[str], held: Collection[str]) -> int:
    """Position of the lowest cut that leaves something to be drawn."""
    drawn = (place for place, name in enumerate(names) if name not in held)
    return next(drawn, len(names) - 1) + 1


def _next_cut(every: int, names: Sequence[str], before: Sequence[Phase]) -> int:
    """Position of the first cut: below the last cut, or the top stack's lowest layer."""
    # That of a thaw parts no kept from fresh layers.
    cuts = [phase.cut for phase in before if phase.cut and KINDS[phase.kind].has_cut]
    if cuts:
        return cut_index(names, cuts[-1]) - every
    return cut_index(names, "decoder") if "decoder.0" in names else len(names) - 1
