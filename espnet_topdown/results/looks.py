"""How each kind of phase is drawn: colour, marker and hatching."""

from collections.abc import Mapping
from dataclasses import dataclass

from espnet_topdown.plan.kinds import BASE_KIND, NAMED, RESTART, SLOW, THAW, TOP_DOWN


@dataclass(frozen=True)
class Look:
    """How a kind is drawn; colours are of Okabe and Ito's palette.

    Args:
        colour: of lines, markers and bars.
        marker: matplotlib's.
        hatch: of bars, so that print and colour-blind readers can tell kinds apart.
    """

    colour: str
    marker: str
    hatch: str


# In the order of legends and axes: phase 0, then as in `KINDS`.
LOOKS: Mapping[str, Look] = {
    BASE_KIND: Look("#000000", "o", ""),
    TOP_DOWN: Look("#E69F00", "s", "///"),
    SLOW: Look("#CC79A7", "o", "++"),
    NAMED: Look("#7F7F7F", "p", "oo"),
    THAW: Look("#F0E442", "X", "**"),
    RESTART: Look("#56B4E9", "^", "..."),
    "continue": Look("#009E73", "D", "xxx"),
    "unfrozen": Look("#0072B2", "v", "\\\\\\"),
    "bottom_up": Look("#D55E00", "P", "---"),
}


def look(kind: str) -> Look:
    """How phases of `kind` are drawn; phase 0's own for everything that is no kind of a plan."""
    return LOOKS.get(kind, LOOKS[BASE_KIND])
