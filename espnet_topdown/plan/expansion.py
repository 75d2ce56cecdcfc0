"""From a plan to the flat list of phases for one model.

`every`, sweeps and controls are expanded once, here.

Checked against the model's layer names; neither torch nor ESPnet is needed.
"""

from collections.abc import Sequence
from typing import Any

from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.layers import cut_index
from espnet_topdown.plan.plan import BASE, TOP_DOWN, Entry, Phase, Plan

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
            self._add_controls(entry)
        elif entry.sweep:
            for cut in entry.sweep:
                self._add(entry, cut, parent=entry.parent or BASE, in_sweep=True)
        elif entry.every:
            for cut in self._every(entry):
                self._add(entry, cut)
        else:
            self._add(entry, str(entry.cut))

    def _every(self, entry: Entry) -> list[str]:
        """Cuts from `start` (default.

        `every` layers below the last cut, or the decoder) down to `stop`, `every` apart.
        """
        above = [p.cut for p in self.phases if not p.is_control and p.cut]
        if entry.start:
            first = cut_index(self.names, entry.start)
        elif above:
            first = cut_index(self.names, above[-1]) - int(entry.every or 1)
        else:
            first = (
                cut_index(self.names, "decoder")
                if "decoder.0" in self.names
                else len(self.names) - 1
            )
        last = cut_index(self.names, entry.stop) if entry.stop else 1
        cuts = [self.names[i] for i in range(first, last - 1, -int(entry.every or 1))]
        if not cuts:
            between = f"{self.names[max(first, 0)]} and {self.names[last]}"
            self.faults.append(f"every: {entry.every} gives no cut between {between}")
        return cuts

    def _top_down(self) -> list[Phase]:
        return [p for p in self.phases if not p.is_control]

    def _add(
        self, entry: Entry, cut: str, *, parent: str | None = None, in_sweep: bool = False
    ) -> None:
        number = len(self._top_down()) + 1
        name = (
            entry.name
            if entry.name and not (entry.every or entry.sweep)
            else f"{entry.name or 'phase'}{number}"
        )
        parent = parent or entry.parent or self.plan.parent
        parent = BASE if parent == "base" else parent
        if parent == "previous":
            parent = self._top_down()[-1].name if self.phases and self._top_down() else BASE
        valid = [BASE, "best", "previous", *(p.name for p in self._top_down())]
        if parent not in valid:
            self.faults.append(f"{name}: unknown parent '{parent}'; {nearest(parent, valid)}")
        phase = self._phase(
            entry, name=name, kind=TOP_DOWN, cut=cut, parent=parent, in_sweep=in_sweep
        )
        self.phases.append(phase)
        self._check_cut(phase)

    def _phase(
        self, entry: Entry, *, name: str, kind: str, cut: str | None, parent: str, **rest: Any
    ) -> Phase:
        seed = (
            entry.seed
            if entry.seed is not None
            else self.base_seed + SEED_STRIDE * (len(self._top_down()) + 1)
        )
        return Phase(
            name=name,
            kind=kind,
            cut=cut,
            parent=parent,
            seed=rest.pop("seed", seed),
            dropout=entry.dropout or self.plan.dropout,
            tied=entry.tied or self.plan.tied,
            init_param=entry.init_param or self.plan.init_param,
            train={**self.plan.train, **entry.train},
            **rest,
        )

    def _add_controls(self, entry: Entry) -> None:
        """One control for each phase that it answers, with that phase's cut, parent, seed and
        training options.
        """
        by_name = {p.name: p for p in self._top_down()}
        for answered in entry.answers or tuple(by_name):
            if answered not in by_name:
                self.faults.append(
                    f"control {entry.control} answers '{answered}'; {nearest(answered, by_name)}"
                )
                continue
            asked = by_name[answered]
            kind = str(entry.control)
            control = self._phase(
                entry,
                name=f"{entry.name or kind}_{answered}",
                kind=kind,
                cut=None if kind in ("restart", "continue") else entry.cut or asked.cut,
                parent=entry.parent or (BASE if kind == "restart" else asked.parent),
                seed=entry.seed if entry.seed is not None else asked.seed,
                answers=answered,
            )
            control = Phase(
                **{**vars(control), "train": {**asked.train, **entry.train}, "tied": asked.tied}
            )
            self.phases.append(control)
            if control.cut:
                self._check_cut(control)

    def _check_cut(self, phase: Phase) -> None:
        sides = phase.sides(self.names)
        if not sides.fresh:
            self.faults.append(
                f"{phase.name}: a cut at '{phase.cut}' keeps every layer, so nothing would be"
                " trained"
            )
        elif not sides.kept:
            self.faults.append(
                f"{phase.name}: a cut at '{phase.cut}' keeps nothing; use 'control: restart' for"
                " that"
            )

    def _check_names_and_seeds(self) -> None:
        names = [p.name for p in self.phases]
        self.faults += [
            f"two phases are named '{n}'" for n in dict.fromkeys(names) if names.count(n) > 1
        ]
        parents = {p.name: p for p in self.phases}
        for phase in self.phases:
            ancestor, seeds = phase.parent, {self.base_seed: BASE}
            while ancestor in parents and parents[ancestor] is not phase:
                seeds[parents[ancestor].seed] = ancestor
                ancestor = parents[ancestor].parent
            if phase.kind != "continue" and phase.seed in seeds:
                self.faults.append(
                    f"{phase.name}: seed {phase.seed} is its ancestor {seeds[phase.seed]}'s, so the"
                    " fresh layers would start where that one started; give another seed"
                )
