"""From a plan to the flat list of phases for one model.

`every`, sweeps and controls are expanded once, here; what is wrong with the phases that come out is
told by `espnet_topdown.plan.phase_faults`. Neither torch nor ESPnet is needed.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan import phase_faults
from espnet_topdown.plan.every import Walk, cuts_of
from espnet_topdown.plan.kinds import CONTROL, KINDS
from espnet_topdown.plan.plan import BASE, SEED_STRIDE, Entry, Phase, Plan
from espnet_topdown.plan.sides import UNTIED, KeptLr, idle_names, kind_of
from espnet_topdown.plan.stopping import MedianStop, StopEarly


def expand(
    plan: Plan, names: Sequence[str], base_seed: int, *, held: Collection[str] = ()
) -> tuple[Phase, ...]:
    """The flat list of phases for a model with layers `names` (lowest first).

    Args:
        plan: as its author wrote it.
        names: layer names of the model.
        base_seed: the base's ``seed``; phase k is trained under ``base_seed + 1000 * k`` unless
            given.
        held: layers that are nothing but a matrix tied to a higher layer.

    Raises:
        TopdownError: unknown cuts and parents, a phase that would train nothing or keep nothing, a
            repeated name or an ancestor's seed; all at once.
    """
    return _Expansion(plan, names, base_seed, held).run()


def short_of_room(
    plan: Plan, names: Sequence[str], base_seed: int, *, held: Collection[str] = ()
) -> list[str]:
    """Notes on each `every` of a plan that a model with layers `names` has too few layers for."""
    expansion = _Expansion(plan, names, base_seed, held)
    expansion.run()
    return expansion.notes


class _Expansion:
    """One run over a plan's entries; collects the faults of all of them."""

    def __init__(
        self, plan: Plan, names: Sequence[str], base_seed: int, held: Collection[str]
    ) -> None:
        self.plan = plan
        self.names = names
        self.base_seed = base_seed
        self.held = held
        self.phases: list[Phase] = []
        self.faults: list[str] = []
        self.notes: list[str] = []

    def run(self) -> tuple[Phase, ...]:
        for entry in self.plan.entries:
            first = len(self.phases)
            try:
                self._add_entry(entry)
            except TopdownError as error:
                # An `every` goes on from the cut above it, whose own phase may have told this.
                if not any(fault.endswith(f": {error}") for fault in self.faults):
                    self.faults.append(str(error))
            if entry.stop_early and len(self.phases) > first:
                self._let_stop(entry.stop_early, first)
        self.faults += phase_faults.of_list(self.phases, self.base_seed)
        check.refuse(self.faults, "the plan does not fit this model")
        return tuple(self.phases)

    def _add_entry(self, entry: Entry) -> None:
        if entry.control:
            self._add_controls(entry, entry.control)
            return
        kind = kind_of(asdict(entry))
        if entry.sweep:
            first = len(self.phases)
            self._add_several(entry, kind, entry.sweep)
            # From one parent, which none of them is.
            swept = self.phases[first:]
            self.phases[first:] = [replace(p, best_before=swept[0].name) for p in swept]
        elif entry.every:
            self._add_several(entry, kind, self._cuts(entry, kind, entry.every))
        else:
            self._add_candidate(entry, kind, entry.cut)

    def _cuts(self, entry: Entry, kind: str, every: int) -> list[str]:
        """Cuts from `start` down to `stop`, `every` layers apart."""
        is_untied = (entry.tied or self.plan.tied) in UNTIED
        held = () if is_untied else self.held
        walk = Walk(every=every, start=entry.start, stop=entry.stop, held=held)
        cuts, notes = cuts_of(walk, kind, self.names, self._candidates())
        self.notes += notes
        return cuts

    def _add_several(self, entry: Entry, kind: str, cuts: Sequence[str]) -> None:
        """A candidate for each cut; it takes of `kept_lr` what names a layer that learns there."""
        idle_at: Counter[str] = Counter()
        for cut in cuts:
            learnable = Phase("", kind, cut, BASE, 0).learnable(self.names)
            idle = idle_names(entry.kept_lr, self.names, learnable)
            idle_at.update(idle)
            own = replace(entry, kept_lr=_without(entry.kept_lr, idle))
            self._add_candidate(own, kind, cut)
        unused = [name for name, count in idle_at.items() if count == len(cuts)]
        if unused:
            self.faults.append(
                f"kept_lr names {', '.join(unused)}, of which none of the phases keeps anything"
                " that can learn"
            )

    def _candidates(self) -> list[Phase]:
        return [phase for phase in self.phases if not phase.is_control]

    def _previous(self) -> str:
        """The last candidate so far, or phase 0."""
        return [BASE, *(phase.name for phase in self._candidates())][-1]

    def _add_candidate(self, entry: Entry, kind: str, cut: str | None) -> None:
        # Controls do not count: adding one changes neither names nor seeds of the candidates.
        number = len(self._candidates()) + 1
        name = entry.name or "phase"
        # A name that stands for several phases is told apart by their numbers.
        if entry.every or entry.sweep or not entry.name:
            name += str(number)
        # A sweep's cuts are compared with one another, so they start from one parent.
        has_own_parent = entry.sweep or not KINDS[kind].has_parent
        default_parent = BASE if has_own_parent else self.plan.parent
        parent = self._parent(entry.parent or default_parent, name, valid=self._candidates())
        settings = _settings(entry, self.plan)
        # A phase without a vocabulary of its own has its parent's.
        settings["tokens"] = settings["tokens"] or self._tokens_of(parent)
        phase = Phase(
            name=name,
            kind=kind,
            cut=cut,
            parent=parent,
            seed=self.base_seed + SEED_STRIDE * number if entry.seed is None else entry.seed,
            in_sweep=entry.sweep is not None,
            keep=entry.keep or (),
            draw=entry.draw or (),
            kept_lr=_kept_lr(kind, entry),
            **settings,
        )
        self._add(phase)

    def _tokens_of(self, parent: str) -> str | None:
        # Only the training tells which is the best: the last candidate stands for it.
        name = self._previous() if parent == "best" else parent
        return next((phase.tokens for phase in self.phases if phase.name == name), None)

    def _parent(self, asked: str, name: str, *, valid: Sequence[Phase]) -> str:
        """The parent of the phase `name`: phase 0, ``best``, or one of the phases `valid`."""
        names = [BASE, "best", "previous", *(phase.name for phase in valid)]
        meant = {"base": BASE, "previous": self._previous()}.get(asked, asked)
        if meant not in names:
            self.faults.append(f"{name}: unknown parent '{asked}'; {nearest(asked, names)}")
        return meant

    def _add_controls(self, entry: Entry, kind: str) -> None:
        """One control for each phase that it answers.

        It takes that phase's cut or layers, parent, seed, tie, dropout, init_param and training
        options.
        """
        by_name = {phase.name: phase for phase in self._candidates()}
        if not by_name:
            self.faults.append(
                f"control {kind} stands before every phase, so it answers none; put it below those"
                " that it answers"
            )
        for asked in entry.answers or tuple(by_name):
            if asked in by_name:
                self._add(self._control(entry, kind, by_name[asked]))
            elif by_name:
                self.faults.append(f"control {kind} answers '{asked}'; {nearest(asked, by_name)}")

    def _control(self, entry: Entry, kind: str, answered: Phase) -> Phase:
        name = f"{entry.name or kind}_{answered.name}"
        default_parent = answered.parent if KINDS[kind].has_parent else BASE
        settings = _settings(entry, answered)
        freezes = KINDS[kind].kept_lr == 0 or entry.kept_lr is not None
        if not freezes:
            # It acts nowhere then: the key of such a control stays as it was.
            settings["dropout"] = entry.dropout or self.plan.dropout
        return Phase(
            name=name,
            kind=kind,
            role=CONTROL,
            # A control may go on with another control, a candidate may not.
            parent=self._parent(entry.parent or default_parent, name, valid=self.phases),
            seed=answered.seed if entry.seed is None else entry.seed,
            answers=answered.name,
            kept_lr=_kept_lr(kind, entry),
            # From what its phase starts from, and never from that phase.
            best_before=answered.best_before or answered.name,
            **_control_parting(entry, kind, answered),
            **settings,
        )

    def _add(self, phase: Phase) -> None:
        self.phases.append(phase)
        fault = phase_faults.of_sides(phase, self.names)
        if fault:
            self.faults.append(f"{phase.name}: {fault}")

    def _let_stop(self, asked: StopEarly, first: int) -> None:
        """Let the phases of an item, from the place `first` on, be ended early; not its first."""
        self.faults += phase_faults.of_stop(asked, self.phases[first:], self.plan)
        later = first + asked.full
        siblings = tuple(phase.name for phase in self.phases[first:later])
        stop = MedianStop(from_epoch=asked.from_epoch, siblings=siblings)
        self.phases[later:] = [replace(phase, stop=stop) for phase in self.phases[later:]]


def _settings(entry: Entry, default: Plan | Phase) -> dict[str, Any]:
    """What an item says of the keys that it shares with its plan; else what `default` has.

    Args:
        entry: the item.
        default: the plan, or of a control the phase that it answers.
    """
    settings: dict[str, Any] = {}
    for key in ("dropout", "tied", "init_param", "tokens"):
        settings[key] = getattr(entry, key) or getattr(default, key)
    for key in ("train", "data"):
        settings[key] = {**getattr(default, key), **getattr(entry, key)}
    return settings


def _kept_lr(kind: str, entry: Entry) -> KeptLr | None:
    """The factors that are asked for; a kind's own where it is neither frozen nor as the rest.

    Said in the phase, so that its key holds the number.
    """
    own = KINDS[kind].kept_lr
    if entry.kept_lr is None and own not in (0, 1):
        return own
    return entry.kept_lr


def _without(kept_lr: KeptLr | None, names: Collection[str]) -> KeptLr | None:
    """The factors without those of `names`; None where none are left."""
    if not isinstance(kept_lr, Mapping):
        return kept_lr
    left = {name: factor for name, factor in kept_lr.items() if name not in names}
    return left or None


def _control_parting(entry: Entry, kind: str, answered: Phase) -> dict[str, Any]:
    """What parts the layers of a control: its own cut or names, or those of what it answers."""
    parting: dict[str, Any] = {"cut": entry.cut, "keep": entry.keep or (), "draw": entry.draw or ()}
    if any(parting.values()):
        return parting
    own, its = KINDS[kind], KINDS[answered.kind]
    # A thaw's cut parts nothing: it says which layers learn, and only another thaw has it.
    if own.has_cut or (own.frees and its.frees):
        parting["cut"] = answered.cut
    if own.is_parted:
        parting |= {"keep": answered.keep, "draw": answered.draw}
    if own.keeps == "lower":
        # The other side: what the phase draws is kept.
        parting |= {"keep": answered.draw, "draw": answered.keep}
    return parting
