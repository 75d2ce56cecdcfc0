"""The kinds of phase, as data: what each keeps of its parent, how fast that learns, its look.

A new kind is one more row of `KINDS`. Whether a phase is a candidate or a control is its role,
apart from its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Keeps = Literal["upper", "lower", "all", "none"]
Role = Literal["candidate", "control"]

CANDIDATE: Role = "candidate"
CONTROL: Role = "control"
TOP_DOWN = "top_down"
RESTART = "restart"
# Phase 0's kind in tables and plots; no plan asks for it.
BASE_KIND = "base"


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


@dataclass(frozen=True)
class Kind:
    """One row of `KINDS`.

    Args:
        keeps: the layers copied from the parent: those from the cut upward (``upper``), those below
            it (``lower``), all or none. The others are drawn anew.
        kept_lr: factor on the learning rate of the kept layers; 0 freezes them.
        look: how it is drawn.
    """

    keeps: Keeps
    kept_lr: float
    look: Look

    @property
    def has_cut(self) -> bool:
        """Whether a cut parts kept from fresh layers."""
        return self.keeps in ("upper", "lower")

    @property
    def has_parent(self) -> bool:
        """Whether anything is kept, so that a parent is needed."""
        return self.keeps != "none"

    @property
    def draws(self) -> bool:
        """Whether any layer is drawn anew, so that an ancestor's seed would repeat its start."""
        return self.keeps != "all"

    @property
    def freezes(self) -> bool:
        """Whether the kept layers are frozen."""
        return self.has_parent and self.kept_lr == 0


KINDS: Mapping[str, Kind] = {
    TOP_DOWN: Kind("upper", 0.0, Look("#E69F00", "s", "///")),
    RESTART: Kind("none", 1.0, Look("#56B4E9", "^", "...")),
    "continue": Kind("all", 1.0, Look("#009E73", "D", "xxx")),
    "unfrozen": Kind("upper", 1.0, Look("#0072B2", "v", "\\\\\\")),
    "bottom_up": Kind("lower", 0.0, Look("#D55E00", "P", "---")),
}
CONTROL_KINDS = tuple(name for name in KINDS if name != TOP_DOWN)
BASE_LOOK = Look("#000000", "o", "")


def look(kind: str) -> Look:
    """How phases of `kind` are drawn; phase 0's own for everything that is no kind of a plan."""
    return KINDS[kind].look if kind in KINDS else BASE_LOOK


def drawing_order(kind: str) -> int:
    """Place of a kind in legends and on axes: phase 0 first, then as in `KINDS`."""
    return 1 + list(KINDS).index(kind) if kind in KINDS else 0


def has_own_name(kind: str, name: str) -> bool:
    """Whether `name` is one that a plan gave to a control, and not made of its kind.

    ``finetune_phase1`` is; ``restart_phase1`` is not.
    """
    return kind in CONTROL_KINDS and not name.startswith(f"{kind}_")
