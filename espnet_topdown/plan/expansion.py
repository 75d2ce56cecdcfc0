"""From a plan to the flat list of phases for one model.

`every`, sweeps and controls are expanded once, here.

Checked against the model's layer names; neither torch nor ESPnet is needed.
"""

from collections.abc import Sequence

from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.kinds import CONTROL, KINDS, TOP_DOWN
from espnet_topdown.plan.layers import cut_index
from espnet_topdown.plan.plan import BASE, Entry, Phase, Plan

# ESPnet seeds epoch n with seed + n (train/trainer.py, run), so neighbouring seeds repeat sequences
SEED_STRIDE = 1000


def expand(plan: Plan, names: Sequence[str], base_seed: int) -> tuple[Phase, ...]:
    """The flat list of phases for a model with layers `names` (lowest first).

    Args:
        plan: as its author wrote it.
        names: layer names of the model.
        base_seed: the base's ``seed``; phase k is trained under ``base_seed + 1000 * k`` unless
            given.

    Raises:
        TopdownError: unknown cuts and parents, a phase that would train nothing or everything, a
            repeated name or an ancestor's seed; all at once.
    """
    return _Expansion(plan, names, base_seed).run()


class _Expansion:
    """One run over a plan's entries; collects the faults of all of them."""

    def __init__(self, plan: Plan, names: Sequence[str], base_seed: int) -> None:
        self.plan, self.names, self.base_seed = plan, names, base_seed
        self.phases: list[Phase] = []
        self.faults: list[str] = []

    def run(self) -> tuple[Phase, ...]:
        for entry in self.plan.entries:
            try:
                self._add_entry(entry)
            except TopdownError as error:
                self.faults.append(str(error))
        self._check_names_and_seeds()
        if self.faults:
            lines = "\n".join(f"  - {fault}" for fault in dict.fromkeys(self.faults))
            raise TopdownError(f"the plan does not fit this model:\n{lines}")
        return tuple(self.phases)

    def _add_entry(self, entry: Entry) -> None:
        if entry.control:
            self._add_controls(entry, entry.control)
        elif entry.sweep:
            for cut in entry.sweep:
                self._add_candidate(entry, cut, parent=entry.parent or BASE, in_sweep=True)
        elif entry.every:
            for cut in self._every(entry, entry.every):
                self._add_candidate(entry, cut)
        else:
            self._add_candidate(entry, str(entry.cut))

    def _every(self, entry: Entry, every: int) -> list[str]:
        """Cuts from `start` down to `stop`, `every` layers apart.

        `start` is by default `every` layers below the last cut, or the decoder.
        """
        above = [phase.cut for phase in self._candidates() if phase.cut]
        if entry.start:
            first = cut_index(self.names, entry.start)
        elif above:
            first = cut_index(self.names, above[-1]) - every
        elif "decoder.0" in self.names:
            first = cut_index(self.names, "decoder")
        else:
            first = len(self.names) - 1
        last = cut_index(self.names, entry.stop) if entry.stop else 1
        cuts = [self.names[place] for place in range(first, last - 1, -every)]
        if not cuts:
            between = f"{self.names[max(first, 0)]} and {self.names[last]}"
            self.faults.append(f"every: {every} gives no cut between {between}")
        return cuts

    def _candidates(self) -> list[Phase]:
        return [phase for phase in self.phases if not phase.is_control]

    def _add_candidate(
        self, entry: Entry, cut: str, *, parent: str | None = None, in_sweep: bool = False
    ) -> None:
        earlier = [phase.name for phase in self._candidates()]
        number = len(earlier) + 1
        is_one_of_several = entry.every or entry.sweep
        if entry.name and not is_one_of_several:
            name = entry.name
        else:
            name = f"{entry.name or 'phase'}{number}"
        parent = parent or entry.parent or self.plan.parent
        if parent == "base":
            parent = BASE
        if parent == "previous":
            parent = earlier[-1] if earlier else BASE
        valid = [BASE, "best", "previous", *earlier]
        if parent not in valid:
            self.faults.append(f"{name}: unknown parent '{parent}'; {nearest(parent, valid)}")
        phase = Phase(
            name=name,
            kind=TOP_DOWN,
            cut=cut,
            parent=parent,
            seed=self._seed(entry, self.base_seed + SEED_STRIDE * number),
            dropout=entry.dropout or self.plan.dropout,
            tied=entry.tied or self.plan.tied,
            init_param=entry.init_param or self.plan.init_param,
            train={**self.plan.train, **entry.train},
            in_sweep=in_sweep,
        )
        self._add(phase)

    @staticmethod
    def _seed(entry: Entry, default: int) -> int:
        return default if entry.seed is None else entry.seed

    def _add_controls(self, entry: Entry, kind: str) -> None:
        """One control for each phase that it answers.

        It takes that phase's cut, parent, seed, tie and training options.
        """
        by_name = {phase.name: phase for phase in self._candidates()}
        for answered in entry.answers or tuple(by_name):
            if answered not in by_name:
                known = nearest(answered, by_name)
                self.faults.append(f"control {kind} answers '{answered}'; {known}")
                continue
            asked = by_name[answered]
            own_parent = asked.parent if KINDS[kind].has_parent else BASE
            control = Phase(
                name=f"{entry.name or kind}_{answered}",
                kind=kind,
                cut=(entry.cut or asked.cut) if KINDS[kind].has_cut else None,
                parent=entry.parent or own_parent,
                seed=self._seed(entry, asked.seed),
                dropout=entry.dropout or self.plan.dropout,
                tied=asked.tied,
                init_param=entry.init_param or self.plan.init_param,
                train={**asked.train, **entry.train},
                answers=answered,
                role=CONTROL,
            )
            self._add(control)

    def _add(self, phase: Phase) -> None:
        self.phases.append(phase)
        if phase.cut is None:
            return
        fault = phase.sides(self.names).fault(phase.cut)
        if fault:
            self.faults.append(f"{phase.name}: {fault}")

    def _check_names_and_seeds(self) -> None:
        names = [phase.name for phase in self.phases]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                self.faults.append(f"two phases are named '{name}'")
        for phase in self.phases:
            taken = self._ancestors_seeds(phase)
            if KINDS[phase.kind].draws and phase.seed in taken:
                self.faults.append(
                    f"{phase.name}: seed {phase.seed} is its ancestor {taken[phase.seed]}'s, so the"
                    " fresh layers would start where that one started; give another seed"
                )

    def _ancestors_seeds(self, phase: Phase) -> dict[int, str]:
        """Seed -> ancestor that was trained under it, phase 0 included."""
        by_name = {other.name: other for other in self.phases}
        seeds = {self.base_seed: BASE}
        ancestor = by_name.get(phase.parent)
        while ancestor is not None and ancestor is not phase:
            seeds[ancestor.seed] = ancestor.name
            ancestor = by_name.get(ancestor.parent)
        return seeds
