"""From a plan to the flat list of phases for one model.

`every`, sweeps and controls are expanded once, here, and checked against the model's layer names;
neither torch nor ESPnet is needed.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.every import Walk, cuts_of
from espnet_topdown.plan.kinds import CONTROL, KINDS
from espnet_topdown.plan.plan import BASE, SEED_STRIDE, UNTIED, Entry, Phase, Plan, seed_fault
from espnet_topdown.plan.sides import KeptLr, held_by_cut, idle_names, kind_of
from espnet_topdown.plan.stopping import MedianStop, StopEarly

# Options in which trainings must agree, where their epochs are compared.
SCHEDULE = ("max_epoch", "patience", "scheduler", "scheduler_conf")
LONGEST_NAME = 200  # bytes; file systems take 255, and some names are made of others
JOB = "JOB"  # the recipes' commands put a job's number in its place, in paths too


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


def _schedule(phase: Phase) -> str:
    """What a phase's training options say of its length and schedule."""
    return repr([phase.train.get(option) for option in SCHEDULE])


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
            if entry.stop_early:
                self._let_stop(entry.stop_early, first)
        self._check_names()
        self._check_stopped_parents()
        self._check_seeds()
        check.refuse(self.faults, "the plan does not fit this model")
        return tuple(self.phases)

    def _add_entry(self, entry: Entry) -> None:
        if entry.control:
            self._add_controls(entry, entry.control)
        elif entry.sweep:
            self._add_several(entry, entry.sweep, in_sweep=True)
        elif entry.every:
            self._add_several(entry, self._every(entry, entry.every))
        else:
            self._add_candidate(entry, entry.cut)

    def _add_several(self, entry: Entry, cuts: Sequence[str], *, in_sweep: bool = False) -> None:
        """A candidate for each cut; each takes of `kept_lr` what names a layer that it keeps."""
        # The cut decides nothing about the kind; what is left of kept_lr there must not either.
        entry = replace(entry, kind=_kind(entry))
        used: set[str] = set()
        first = len(self.phases)
        for cut in cuts:
            kept = Phase("", _kind(entry), cut, BASE, 0).sides(self.names).kept
            held = held_by_cut(_kind(entry), cut, self.names)
            learning = [name for name in kept if name not in held]
            idle = idle_names(entry.kept_lr, self.names, learning)
            own = _without(entry.kept_lr, idle)
            if isinstance(own, Mapping):
                used.update(own)
            self._add_candidate(replace(entry, kept_lr=own), cut, in_sweep=in_sweep)
        if in_sweep:
            # From one parent, which none of them is.
            swept = self.phases[first:]
            self.phases[first:] = [replace(p, best_before=swept[0].name) for p in swept]
        unused = _without(entry.kept_lr, used)
        if isinstance(unused, Mapping) and cuts:
            self.faults.append(
                f"kept_lr names {', '.join(unused)}, of which none of the phases keeps anything"
                " that can learn"
            )

    def _every(self, entry: Entry, every: int) -> list[str]:
        """Cuts from `start` down to `stop`, `every` layers apart."""
        is_untied = (entry.tied or self.plan.tied) in UNTIED
        held = () if is_untied else self.held
        walk = Walk(every=every, start=entry.start, stop=entry.stop, held=held)
        cuts, note, fault = cuts_of(walk, _kind(entry), self.names, self._candidates())
        self.notes += filter(None, [note])
        self.faults += filter(None, [fault])
        return cuts

    def _candidates(self) -> list[Phase]:
        return [phase for phase in self.phases if not phase.is_control]

    def _add_candidate(self, entry: Entry, cut: str | None, *, in_sweep: bool = False) -> None:
        # Controls do not count: adding one changes neither names nor seeds of the candidates.
        number = len(self._candidates()) + 1
        name = entry.name or "phase"
        # A name that stands for several phases is told apart by their numbers.
        if entry.every or entry.sweep or not entry.name:
            name += str(number)
        kind = _kind(entry)
        # A sweep's cuts are compared with one another, so they start from one parent.
        has_own_parent = in_sweep or not KINDS[kind].has_parent
        default_parent = BASE if has_own_parent else self.plan.parent
        default_seed = self.base_seed + SEED_STRIDE * number
        parent = self._parent(entry.parent or default_parent, name, valid=self._candidates())
        phase = Phase(
            name=name,
            kind=kind,
            cut=cut,
            parent=parent,
            seed=default_seed if entry.seed is None else entry.seed,
            dropout=entry.dropout or self.plan.dropout,
            tied=entry.tied or self.plan.tied,
            init_param=entry.init_param or self.plan.init_param,
            train={**self.plan.train, **entry.train},
            data={**self.plan.data, **entry.data},
            tokens=entry.tokens or self.plan.tokens or self._tokens_of(parent),
            in_sweep=in_sweep,
            keep=entry.keep or (),
            draw=entry.draw or (),
            kept_lr=_kept_lr(kind, entry),
        )
        self._add(phase)

    def _tokens_of(self, parent: str) -> str | None:
        """The vocabulary of a parent, which a phase without one of its own has too."""
        if parent == "best":
            # Only the training tells which that is: the last candidate stands for it.
            parent = self._previous()
        return next((phase.tokens for phase in self.phases if phase.name == parent), None)

    def _parent(self, asked: str, name: str, *, valid: Sequence[Phase]) -> str:
        """The parent of the phase `name`: phase 0, ``best``, or one of the phases `valid`."""
        if asked == "base":
            return BASE
        if asked == "previous":
            return self._previous()
        names = [BASE, "best", "previous", *(phase.name for phase in valid)]
        if asked not in names:
            self.faults.append(f"{name}: unknown parent '{asked}'; {nearest(asked, names)}")
        return asked

    def _previous(self) -> str:
        """The last candidate so far, or phase 0."""
        return [BASE, *(phase.name for phase in self._candidates())][-1]

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
        for asked in entry.answers or tuple(by_name):
            if asked not in by_name:
                self.faults.append(f"control {kind} answers '{asked}'; {nearest(asked, by_name)}")
                continue
            answered = by_name[asked]
            name = f"{entry.name or kind}_{asked}"
            default_parent = answered.parent if KINDS[kind].has_parent else BASE
            # Where nothing is frozen it acts nowhere: the key of such a control stays as it was.
            freezes = KINDS[kind].kept_lr == 0 or entry.kept_lr is not None
            default_dropout = answered.dropout if freezes else self.plan.dropout
            control = Phase(
                name=name,
                kind=kind,
                role=CONTROL,
                **_control_parting(entry, kind, answered),
                # A control may go on with another control, a candidate may not.
                parent=self._parent(entry.parent or default_parent, name, valid=self.phases),
                seed=answered.seed if entry.seed is None else entry.seed,
                dropout=entry.dropout or default_dropout,
                tied=answered.tied,
                init_param=entry.init_param or answered.init_param,
                train={**answered.train, **entry.train},
                data=answered.data,
                tokens=answered.tokens,
                answers=asked,
                kept_lr=_kept_lr(kind, entry),
                # From what its phase starts from, and never from that phase.
                best_before=answered.best_before or asked,
            )
            self._add(control)

    def _add(self, phase: Phase) -> None:
        self.phases.append(phase)
        if KINDS[phase.kind].is_parted and not phase.parting:
            needed = "cut" if KINDS[phase.kind].has_cut else "keep or draw"
            self.faults.append(
                f"{phase.name}: the phase that it answers, {phase.answers}, has no {needed}; give"
                f" the control a {needed} of its own, or name in 'answers' the phases that have one"
            )
            return
        try:
            fault = phase.sides(self.names).fault(phase.kind, phase.parting)
        except TopdownError as error:
            fault = str(error)
        if fault:
            self.faults.append(f"{phase.name}: {fault}")

    def _let_stop(self, asked: StopEarly, first: int) -> None:
        """Let the phases of an item, from the place `first` on, be ended early; not its first."""
        phases = self.phases[first:]
        reference, later = phases[: asked.full], phases[asked.full :]
        if not phases:
            return  # whose fault was told
        names = f"{phases[0].name} to {phases[-1].name}"
        if not later:
            self.faults.append(
                f"{names}: stop_early trains the first {asked.full} in full, and there are"
                f" {len(phases)}, so none would ever be ended; leave it out"
            )
        if phases[0].is_control and self.plan.patience is not None:
            self.faults.append(
                f"{names}: stop_early compares with controls that the plan's patience may leave"
                " out; leave out one of the two"
            )
        if len({(phase.valid_set, phase.tokens) for phase in phases}) > 1:
            self.faults.append(
                f"{names}: stop_early compares dev values, and theirs are on different data or"
                " tokens; leave it out, or give each an item of its own"
            )
        if len({_schedule(phase) for phase in phases}) > 1:
            self.faults.append(
                f"{names}: stop_early compares epochs of one schedule, and the trainings"
                f" differ in {' or '.join(SCHEDULE)}; leave it out, or give all of them the same"
            )
        siblings = tuple(phase.name for phase in reference)
        stop = MedianStop(from_epoch=asked.from_epoch, siblings=siblings)
        self.phases[first + asked.full :] = [replace(phase, stop=stop) for phase in later]

    def _check_stopped_parents(self) -> None:
        stopped = {phase.name for phase in self.phases if phase.stop}
        for phase in self.phases:
            if phase.parent in stopped and KINDS[phase.kind].has_parent:
                self.faults.append(
                    f"{phase.name}: its parent {phase.parent} may be ended by stop_early, and then"
                    " this phase would be another; give 'parent: best', which no phase that was"
                    " ended is, or leave stop_early out"
                )

    def _check_names(self) -> None:
        for name, count in Counter(phase.name for phase in self.phases).items():
            if count > 1:
                self.faults.append(f"two phases are named '{name}'")
            # Found by the first phase that is trained, it would be too late for the last.
            if len(name.encode()) > LONGEST_NAME:
                self.faults.append(
                    f"the name '{name[:20]}...' is longer than {LONGEST_NAME} bytes; give a shorter"
                )
            if JOB in name:
                self.faults.append(
                    f"the name '{name}' holds {JOB}, which stands for a job's number where phases"
                    " are decoded; give another"
                )

    def _check_seeds(self) -> None:
        for phase in self.phases:
            fault = seed_fault(phase.kind, phase.seed, self._ancestors_seeds(phase))
            if fault:
                self.faults.append(f"{phase.name}: {fault}")

    def _ancestors_seeds(self, phase: Phase) -> dict[int, str]:
        """Seed -> ancestor that was trained under it, phase 0 included."""
        by_name = {other.name: other for other in self.phases}
        line = [phase]
        ancestor = by_name.get(phase.parent)
        # Where a faulty plan names two phases alike, one of them is its own ancestor.
        while ancestor is not None and ancestor not in line:
            line.append(ancestor)
            ancestor = by_name.get(ancestor.parent)
        return {self.base_seed: BASE} | {other.seed: other.name for other in line[1:]}


def _kind(entry: Entry) -> str:
    """The kind of an item's candidates."""
    return kind_of(asdict(entry))


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
    if entry.cut or entry.keep or entry.draw:
        return {"cut": entry.cut, "keep": entry.keep or (), "draw": entry.draw or ()}
    own, its = KINDS[kind], KINDS[answered.kind]
    # A thaw's cut parts nothing: it says which layers learn, and only another thaw has it.
    has_its_cut = own.has_cut or (own.frees and its.frees)
    cut = answered.cut if has_its_cut else None
    if not own.is_parted:
        return {"cut": cut}
    keep, draw = answered.keep, answered.draw
    if own.keeps == "lower":
        # The other side: what the phase draws is kept.
        keep, draw = draw, keep
    return {"cut": cut, "keep": keep, "draw": draw}
