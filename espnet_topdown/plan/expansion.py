"""From a plan to the flat list of phases for one model.

`every`, sweeps and controls are expanded once, here; what is wrong with the phases that come out is
told by `espnet_topdown.plan.phase_faults`. Neither torch nor ESPnet is needed.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan import phase_faults
from espnet_topdown.plan.every import cuts_of
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import BASE, SEED_STRIDE, Entry, Phase, Plan
from espnet_topdown.plan.sides import UNTIED, KeptLr, kind_of, named_factors
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
        # Phase -> its vocabulary, None for the base's.
        self.tokens: dict[str, str | None] = {}

    def run(self) -> tuple[Phase, ...]:
        for entry in self.plan.entries:
            first = len(self.phases)
            try:
                self._add_entry(entry)
            except TopdownError as error:
                # An `every` goes on from the cut above it, whose own phase may have told this.
                if not any(fault.endswith(f": {error}") for fault in self.faults):
                    self.faults.append(str(error))
            self._let_stop(entry.stop_early, first)
        self.faults += phase_faults.of_list(self.phases, self.base_seed)
        check.refuse(self.faults, "the plan does not fit this model")
        return tuple(self.phases)

    def _add_entry(self, entry: Entry) -> None:
        kind = entry.control or kind_of(asdict(entry))
        if entry.control:
            self._add_controls(entry, kind)
        elif entry.sweep:
            first = len(self.phases)
            self._add_several(entry, kind, entry.sweep)
            # From one parent, which none of them is.
            swept = self.phases[first:]
            self.phases[first:] = [replace(p, best_before=swept[0].name) for p in swept]
        elif entry.every:
            self._add_several(entry, kind, self._cuts(entry, kind))
        else:
            self._add_candidate(entry, kind, entry.cut)

    def _cuts(self, entry: Entry, kind: str) -> list[str]:
        """Cuts from `start` down to `stop`, `every` layers apart."""
        is_untied = (entry.tied or self.plan.tied) in UNTIED
        held = () if is_untied else self.held
        cuts, notes = cuts_of(entry, kind, self.names, self._candidates(), held=held)
        self.notes += notes
        return cuts

    def _add_several(self, entry: Entry, kind: str, cuts: Sequence[str]) -> None:
        """A candidate for each cut; it takes of `kept_lr` what names a layer that learns there."""
        idle_at = []
        for cut in cuts:
            cut_there = Phase("", kind, cut, BASE, 0, kept_lr=entry.kept_lr)
            try:
                idle = cut_there.idle(self.names)
            except TopdownError as error:
                self.faults.append(str(error))
                continue
            idle_at.append(set(idle))
            own = replace(entry, kept_lr=_without(entry.kept_lr, idle))
            self._add_candidate(own, kind, cut)
        unused = set.intersection(*idle_at) if idle_at else set()
        if unused:
            self.faults.append(
                f"kept_lr names {', '.join(sorted(unused))}, of which none of the phases keeps"
                " anything that can learn"
            )

    def _candidates(self) -> list[Phase]:
        return [phase for phase in self.phases if not phase.is_control]

    def _previous(self) -> str:
        """The last candidate so far, or phase 0."""
        return [BASE, *(phase.name for phase in self._candidates())][-1]

    def _add_candidate(self, entry: Entry, kind: str, cut: str | None) -> None:
        # Controls do not count: adding one changes neither names nor seeds of the candidates.
        before = self._candidates()
        number = len(before) + 1
        name = entry.name or "phase"
        # A name that stands for several phases is told apart by their numbers.
        if entry.every or entry.sweep or not entry.name:
            name += str(number)
        phase = self._phase(
            entry,
            kind,
            name,
            # A sweep's cuts are compared with one another, so they start from one parent.
            parent=BASE if entry.sweep else self.plan.parent,
            valid=before,
            seed=self.base_seed + SEED_STRIDE * number,
            cut=cut,
            keep=entry.keep,
            draw=entry.draw,
            in_sweep=bool(entry.sweep),
            **_settings(entry, self.plan),
        )
        # A phase without a vocabulary of its own has its parent's. Only the training tells which is
        # the best: the last candidate stands for it.
        source = {"best": self._previous()}.get(phase.parent, phase.parent)
        self._add(replace(phase, tokens=phase.tokens or self.tokens.get(source)))

    def _phase(
        self,
        entry: Entry,
        kind: str,
        name: str,
        *,
        parent: str,
        valid: Sequence[Phase],
        seed: int,
        **own: Any,
    ) -> Phase:
        """A phase of an item.

        Args:
            entry: the item.
            kind: of the phase.
            name: its name.
            parent: where the item names none.
            valid: phases that can be its parent.
            seed: where the item gives none.
            own: what else the phase has.
        """
        if not KINDS[kind].has_parent:
            parent = BASE
        return Phase(
            name=name,
            kind=kind,
            parent=self._parent(entry.parent or parent, name, valid=valid),
            seed=seed if entry.seed is None else entry.seed,
            kept_lr=_kept_lr(kind, entry),
            **own,
        )

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
            return
        for asked in entry.answers or by_name:
            if asked in by_name:
                self._add(self._control(entry, kind, by_name[asked]))
            else:
                self.faults.append(f"control {kind} answers '{asked}'; {nearest(asked, by_name)}")

    def _control(self, entry: Entry, kind: str, answered: Phase) -> Phase:
        settings = _settings(entry, answered)
        if KINDS[kind].kept_lr != 0 and entry.kept_lr is None:
            # Nothing is frozen, so it acts nowhere: the key of such a control stays as it was.
            settings["dropout"] = entry.dropout or self.plan.dropout
        return self._phase(
            entry,
            kind,
            f"{entry.name or kind}_{answered.name}",
            parent=answered.parent,
            # A control may go on with another control, a candidate may not.
            valid=self.phases,
            seed=answered.seed,
            answers=answered.name,
            # From what its phase starts from, and never from that phase.
            best_before=answered.best_before or answered.name,
            **_control_parting(entry, kind, answered),
            **settings,
        )

    def _add(self, phase: Phase) -> None:
        self.phases.append(phase)
        self.tokens[phase.name] = phase.tokens
        fault = phase_faults.of_sides(phase, self.names)
        if fault:
            self.faults.append(f"{phase.name}: {fault}")

    def _let_stop(self, asked: StopEarly | None, first: int) -> None:
        """Let the phases of an item, from the place `first` on, be ended early; not its first."""
        if asked is None or not self.phases[first:]:
            return
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
    one_of_two = ("dropout", "tied", "init_param", "tokens")
    settings = {key: getattr(entry, key) or getattr(default, key) for key in one_of_two}
    return {
        **settings,
        "train": {**default.train, **entry.train},
        "data": {**default.data, **entry.data},
    }


def _kept_lr(kind: str, entry: Entry) -> KeptLr | None:
    """The factors that are asked for; a kind's own where it is neither frozen nor as the rest.

    Said in the phase, so that its key holds the number.
    """
    own = KINDS[kind].kept_lr
    if entry.kept_lr is None and own not in (0, 1):
        return own
    return entry.kept_lr


def _without(kept_lr: KeptLr | None, idle: Collection[str]) -> KeptLr | None:
    """The factors without those of the names in `idle`; None where none are left."""
    if not idle:
        return kept_lr
    left = dict(named_factors(kept_lr))
    for name in idle:
        del left[name]
    return left or None


def _control_parting(entry: Entry, kind: str, answered: Phase) -> dict[str, Any]:
    """What parts the layers of a control: its own cut or names, or those of what it answers."""
    parting = {"cut": entry.cut, "keep": entry.keep, "draw": entry.draw}
    if any(parting.values()):
        return parting
    own, its = KINDS[kind], KINDS[answered.kind]
    match own.keeps:
        case "upper":
            return {"cut": answered.cut, "keep": answered.keep, "draw": answered.draw}
        case "lower":
            # The other side: what the phase draws is kept.
            return {"cut": answered.cut, "keep": answered.draw, "draw": answered.keep}
        case "named":
            return {"cut": None, "keep": answered.keep, "draw": answered.draw}
        case _:
            # A thaw's cut parts nothing: it says which layers learn, and only another thaw has it.
            return {"cut": answered.cut if own.frees and its.frees else None}
