"""The plan of a cascade: which phases to train, as data.

A plan stores what was decided (cuts, parents, seeds, overrides) and nothing that follows from it:
frozen and fresh layers are derived from the cut. Files are read in `espnet_topdown.plan.plan_file`,
phases listed in `espnet_topdown.plan.expansion`; nothing that executes is reachable from here.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from espnet_topdown.grouping import grouped
from espnet_topdown.plan.kinds import CANDIDATE, CONTROL, KINDS, Role
from espnet_topdown.plan.sides import UNTIED, Choice, KeptLr
from espnet_topdown.plan.stopping import MedianStop, StopEarly

K = TypeVar("K", bound=Hashable)

DROPOUT = ("keep", "off")
TIED = ("freeze", *UNTIED)
INIT_PARAM = ("keep", "drop")
BASE = "phase0"
# ESPnet seeds epoch n with seed + n (train/trainer.py, run): neighbouring seeds repeat sequences.
SEED_STRIDE = 1000
# NumPy's generator takes 32 bits, and ESPnet adds the number of the epoch.
MAX_SEED = 4_000_000_000


def seed_fault(kind: str, seed: int, ancestors: Mapping[int, str]) -> str | None:
    """Why a phase of `kind` cannot have `seed`; None where it can.

    Args:
        kind: one of `KINDS`.
        seed: ESPnet's ``--seed`` of the phase.
        ancestors: seed -> the parent, or an ancestor of it, that was trained under it.
    """
    if seed > MAX_SEED:
        return f"seed {seed} is more than NumPy takes; give one of at most {MAX_SEED}"
    if not KINDS[kind].draws or seed not in ancestors:
        return None
    return (
        f"seed {seed} is that of its ancestor {ancestors[seed]}, so the fresh layers would start"
        f" where that one started; give another seed, at least {SEED_STRIDE} away (ESPnet seeds"
        " epoch n with seed + n)"
    )


@dataclass(frozen=True)
class Phase(Choice):
    """One training run of an expanded plan.

    Args:
        name: directory name inside the cascade (``phase1``, ``restart_phase1``).
        kind: one of `KINDS`.
        cut: lowest layer of the upper part; None for a kind without a cut, and where `keep` or
            `draw` name layers instead.
        parent: name of the phase whose weights are kept, or ``best`` (best on dev when this phase
            starts, or `best_before`).
        seed: ESPnet's ``--seed`` of this run.
        dropout: ``keep`` or ``off``, in the frozen layers.
        tied: what happens to weights tied across the cut, one of `TIED`; None: as
            ``freeze`` where ESPnet ties them by default, else refused.
        init_param: whether fresh layers take the base's ``init_param``.
        train: training options that differ from the base's.
        data: ``train`` and ``valid`` -> the data that is read instead of the base's.
        tokens: token list of another vocabulary than the base's; None: the base's.
        answers: for a control, the phase that it is compared with; None for a candidate.
        in_sweep: independent of its neighbours; does not count for stopping.
        stop: what may end it early; None: it is trained in full.
        keep: layers or stacks that are kept, in the place of a cut.
        draw: those that are drawn, in the place of a cut.
        kept_lr: factors on the learning rate of kept layers (see `Choice`); None: the kind's.
        best_before: name of the phase whose ``best`` is the parent: for a control that which it
            answers, in a sweep the first; None: this one.
    """

    name: str
    kind: str
    cut: str | None
    parent: str
    seed: int
    dropout: str = "keep"
    tied: str | None = None
    init_param: str = "keep"
    train: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    tokens: str | None = None
    answers: str | None = None
    in_sweep: bool = False
    stop: MedianStop | None = None
    keep: tuple[str, ...] = ()
    draw: tuple[str, ...] = ()
    kept_lr: KeptLr | None = None
    best_before: str | None = None

    @property
    def is_control(self) -> bool:
        """Whether it is never the best phase, never a parent, and never counts for stopping."""
        return self.answers is not None

    @property
    def role(self) -> Role:
        """A candidate can be accepted, be the best and be a parent; a control is none of these."""
        return CONTROL if self.is_control else CANDIDATE

    @property
    def valid_set(self) -> str | None:
        """The data that its dev value is of; None: the base's own."""
        return self.data.get("valid")

    @property
    def compared_with(self) -> tuple[str, ...]:
        """Names of the phases by which it may be ended early; none where it is trained in full."""
        return self.stop.siblings if self.stop is not None else ()


def names_by(phases: Iterable[Phase], key: Callable[[Phase], K | None]) -> dict[K, list[str]]:
    """What phases have in common -> their names; those whose `key` is None are left out."""
    groups = grouped(phases, key)
    return {
        value: [phase.name for phase in own] for value, own in groups.items() if value is not None
    }


def reads_of(phase: Phase, phases: Sequence[Phase], own: Collection[str] = ()) -> str:
    """What a phase reads instead of the base's, ``train noisy, valid dev_noisy``; or "".

    Paths are told by as few of their last parts as tell them from what the others read, so that
    two phases with the same words read the same.

    Args:
        phase: the phase.
        phases: all of its cascade.
        own: paths of the base's lists, and of their directories.
    """
    told = []
    for part, place in phase.data.items():
        places = {other.data[part] for other in phases if part in other.data}
        told.append(f"{part} {_tail(place, {*places, *own})}")
    if phase.tokens:
        lists = {other.tokens for other in phases if other.tokens}
        told.append(f"tokens {_short_list(phase.tokens, lists)}")
    return ", ".join(told)


def _short_list(tokens: str, lists: Collection[str]) -> str:
    """A token list by its directory, or where that holds several, by its file."""
    directory = Path(tokens).parent
    directories = [str(Path(path).parent) for path in lists if Path(path) != Path(tokens)]
    if str(directory) in directories:
        return _tail(tokens, lists)
    return _tail(str(directory), directories)


def _tail(place: str, others: Collection[str]) -> str:
    """As few of the last parts of a path as no other path ends with."""
    parts = Path(place).parts
    ends = {Path(other).parts for other in others} - {parts}
    for count in range(1, len(parts)):
        tail = parts[-count:]
        if not any(end[-count:] == tail for end in ends):
            return "/".join(tail)
    return place


@dataclass(frozen=True)
class Entry:
    """One item of a plan's ``phases``.

    It has exactly one of `cut`, `every`, `sweep`, `control`, `keep` and `draw`, or a `kind` that
    needs none.

    Args:
        cut: one phase, cut there; beside `control`, the control's cut.
        every: a phase for every so many layers, from `start` down to `stop`.
        start: first cut of `every`; None: `every` layers below the last cut, or the decoder.
        stop: last cut of `every`; None: the lowest that leaves a layer to be drawn, which a matrix
            tied to a kept layer is not.
        sweep: a phase for each of these cuts, independent of one another.
        control: kind of a control, one for each phase that it answers.
        answers: names of the phases that `control` answers; none: all.
        stop_early: what may end the phases of a sweep, or the controls, but for the first of them.
        keep: one phase that keeps these layers or stacks; beside `control`, the control's.
        draw: one phase that draws these anew and keeps the others; beside `control`, the control's.
        kind: of the phases, one of `KINDS`; None: what `kind_of` says.
        kept_lr: as in `Phase`; names of which one of several phases keeps nothing are left out
            there.
        thaw: the same as `kind` thaw.
        name: the phase's name; where there are several, what their names begin with.
        parent, seed, dropout, tied, init_param, train, data, tokens: as in `Phase`; None: the
            plan's. A control's data and tokens are those of the phase that it answers.
    """

    cut: str | None = None
    every: int | None = None
    start: str | None = None
    stop: str | None = None
    sweep: tuple[str, ...] = ()
    control: str | None = None
    answers: tuple[str, ...] = ()
    stop_early: StopEarly | None = None
    keep: tuple[str, ...] = ()
    draw: tuple[str, ...] = ()
    kind: str | None = None
    kept_lr: KeptLr | None = None
    thaw: bool | None = None
    name: str | None = None
    parent: str | None = None
    seed: int | None = None
    dropout: str | None = None
    tied: str | None = None
    init_param: str | None = None
    train: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    tokens: str | None = None


@dataclass(frozen=True)
class Plan:
    """A cascade as its author wrote it.

    Args:
        entries: the items of ``phases``.
        parent: ``previous`` (the phase just trained, accepted or not), ``best``, ``phase0`` or a
            phase's name.
        parent_model: file that a parent's weights come from; None: the averaged model of the dev
            criterion.
        dev_criterion: (``valid``, metric, ``min`` or ``max``); None: chosen from the base's config.
        min_gain: least improvement on dev that counts as accepted, in the metric's unit.
        patience: stop after so many rejections in a row; None: run the whole plan.
        dropout, tied, init_param, train, data, tokens: of every phase that has none of its own.
        layers: layer order for models outside the table, layer name -> name prefixes, lowest first.
    """

    entries: tuple[Entry, ...]
    parent: str = "previous"
    parent_model: str | None = None
    dev_criterion: tuple[str, str, str] | None = None
    min_gain: float = 0.0
    patience: int | None = None
    dropout: str = "keep"
    tied: str | None = None
    init_param: str = "keep"
    train: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    tokens: str | None = None
    layers: Mapping[str, Sequence[str]] = field(default_factory=dict)
