"""The kinds of phase, as data: what each keeps of its parent and how fast that learns.

A new kind is one more row of `KINDS`. Whether a phase is a candidate or a control is its role,
apart from its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Keeps = Literal["upper", "lower", "named", "all", "none"]
Role = Literal["candidate", "control"]

CANDIDATE: Role = "candidate"
CONTROL: Role = "control"
TOP_DOWN = "top_down"
SLOW = "slow"
NAMED = "named"
THAW = "thaw"
RESTART = "restart"
# Phase 0's kind in tables and pictures; no plan asks for it.
BASE_KIND = "base"


@dataclass(frozen=True)
class Kind:
    """One row of `KINDS`.

    Args:
        keeps: the layers copied from the parent: those from the cut upward (``upper``), those below
            it (``lower``), those that the plan names, all or none. The others are drawn anew.
        kept_lr: factor on the learning rate of the kept layers, unless the plan gives another; 0
            freezes them.
        is_fixed: whether its name says the factor, so that a plan can give no other.
        frees: whether a cut says from which layer upward its kept layers learn; those below are
            frozen.
    """

    keeps: Keeps
    kept_lr: float
    is_fixed: bool = False
    frees: bool = False

    @property
    def has_cut(self) -> bool:
        """Whether a cut parts kept from fresh layers."""
        return self.keeps in ("upper", "lower")

    @property
    def takes_cut(self) -> bool:
        """Whether a plan can give it a cut, be it to part layers or to say which ones learn."""
        return self.has_cut or self.frees

    @property
    def is_parted(self) -> bool:
        """Whether some layers are kept and some fresh, parted by a cut or by their names."""
        return self.has_cut or self.keeps == "named"

    @property
    def has_parent(self) -> bool:
        """Whether anything is kept, so that a parent is needed."""
        return self.keeps != "none"

    @property
    def draws(self) -> bool:
        """Whether any layer is drawn anew, so that an ancestor's seed would repeat its start."""
        return self.keeps != "all"


KINDS: Mapping[str, Kind] = {
    TOP_DOWN: Kind("upper", 0.0, is_fixed=True),
    SLOW: Kind("upper", 0.1),
    NAMED: Kind("named", 0.0),
    THAW: Kind("all", 1.0, frees=True),
    RESTART: Kind("none", 1.0),
    "continue": Kind("all", 1.0),
    "unfrozen": Kind("upper", 1.0, is_fixed=True),
    "bottom_up": Kind("lower", 0.0),
}
# The controls that a study is expected to have.
USUAL_CONTROLS = (RESTART, "continue", "unfrozen", "bottom_up")
# Those whose kept layers all are frozen, or all learn as the rest, as the kind's name says.
PLAIN = (TOP_DOWN, *USUAL_CONTROLS, BASE_KIND)


def has_own_name(kind: str, name: str) -> bool:
    """Whether `name` is one that a plan gave to a control, and not made of its kind.

    ``finetune_phase1`` is; ``restart_phase1`` is not.
    """
    return kind in KINDS and not name.startswith(f"{kind}_")
