"""Which phase waits for which, which can start now, and how long a whole cascade would take.

Values in, values out: neither files nor a model are needed. The runner starts what is `ready`, and
`makespan` plays the same for the plan before anything is trained.
"""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from espnet_topdown.cascade.judgement import is_independent
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import BASE, Phase, Plan


@dataclass(frozen=True)
class Waits:
    """What a phase waits for.

    Args:
        finished: names of phases that must be recorded: its parent, and those that it is compared
            with by the rule that may end it.
        ended: names of phases that must have ended, well or not, before it is its turn.
    """

    finished: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys([*self.finished, *self.ended]))


def waits_of(phases: Sequence[Phase], plan: Plan) -> dict[str, Waits]:
    """What each phase waits for; a phase of which nothing is needed waits for nothing.

    Args:
        phases: all of the cascade, in the plan's order.
        plan: with a patience, its chain is trained in turn: only after a phase has ended is it
            known whether the next one is spared.
    """
    waits = {}
    before: list[str] = []  # candidates
    counting: list[str] = []  # those among them that count for the patience
    for phase in phases:
        finished = []
        ended: list[str] = []
        if phase.parent == "best":
            ended += _before(phase.best_before, before)
        elif phase.parent != BASE and KINDS[phase.kind].has_parent:
            finished.append(phase.parent)
        finished += phase.compared_with
        # Whether a phase of the chain is spared is known once those before it have been judged.
        if plan.patience is not None and not is_independent(phase):
            ended += counting
        waits[phase.name] = Waits(tuple(finished), tuple(dict.fromkeys(ended)))
        if not phase.is_control:
            before.append(phase.name)
        if not is_independent(phase):
            counting.append(phase.name)
    return waits


def _before(name: str | None, names: Sequence[str]) -> Sequence[str]:
    """Those of `names` that stand before `name`, all without it."""
    return names[: names.index(name)] if name in names else names


def ready(
    phases: Sequence[Phase],
    waits: Mapping[str, Waits],
    *,
    finished: Collection[str],
    failed: Collection[str],
    running: Collection[str],
    skipped: Collection[str],
) -> list[Phase]:
    """The phases that can start now, in the plan's order.

    Args:
        phases: all of the cascade.
        waits: as `waits_of` gave them.
        finished: names of those that are recorded.
        failed: names of those that this run has tried in vain.
        running: names of those under way.
        skipped: names of those that the plan's patience leaves out.
    """
    recorded = {*finished}
    ended = recorded.union(failed, skipped)
    begun = ended.union(running)
    to_begin = [phase for phase in phases if phase.name not in begun]
    there = [phase for phase in to_begin if recorded.issuperset(waits[phase.name].finished)]
    return [phase for phase in there if ended.issuperset(waits[phase.name].ended)]


def makespan(
    phases: Sequence[Phase],
    waits: Mapping[str, Waits],
    costs: Mapping[str, float],
    *,
    jobs: int,
    finished: Collection[str] = (),
    skipped: Collection[str] = (),
) -> float:
    """When the last phase ends, from now on, where each is started as soon as it can be.

    Args:
        phases: all of the cascade.
        waits: as `waits_of` gave them.
        costs: time that each takes, in any unit, which is that of the result.
        jobs: trainings side by side.
        finished: names of those that are recorded.
        skipped: names of those that are left out.
    """
    done = set(finished)
    # A heap: the training that ends first is the next to be taken.
    running: list[tuple[float, str]] = []
    now = 0.0
    while True:
        names = [name for _, name in running]
        can_start = ready(phases, waits, finished=done, failed=(), running=names, skipped=skipped)
        for phase in can_start[: jobs - len(running)]:
            heapq.heappush(running, (now + costs[phase.name], phase.name))
        if not running:
            return now
        now, name = heapq.heappop(running)
        done.add(name)
