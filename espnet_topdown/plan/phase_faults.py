"""What is wrong with the phases of an expanded plan, one by one and beside one another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import BASE, Phase, Plan, seed_fault
from espnet_topdown.plan.stopping import StopEarly

# Options in which trainings must agree, where their epochs are compared.
SCHEDULE = ("max_epoch", "patience", "scheduler", "scheduler_conf")
LONGEST_NAME = 200  # bytes; file systems take 255, and some names are made of others
JOB = "JOB"  # the recipes' commands put a job's number in its place, in paths too


def of_sides(phase: Phase, names: Sequence[str]) -> str | None:
    """Why a phase cannot keep and train what it says of the layers `names`; None where it can."""
    if KINDS[phase.kind].is_parted and not phase.parting:
        # Of a candidate the plan's own check has told it.
        needed = "cut" if KINDS[phase.kind].has_cut else "keep or draw"
        return (
            f"the phase that it answers, {phase.answers}, has no {needed}; give the control a"
            f" {needed} of its own, or name in 'answers' the phases that have one"
        )
    try:
        return phase.fault(phase.sides(names))
    except TopdownError as error:
        return str(error)


def of_stop(asked: StopEarly, phases: Sequence[Phase], plan: Plan) -> list[str]:
    """Why the phases of one item, at least one, cannot be ended early as it asks."""
    # As text, since a scheduler_conf is a mapping, which no set can hold.
    schedules = {str([phase.train.get(option) for option in SCHEDULE]) for phase in phases}
    data = {(phase.valid_set, phase.tokens) for phase in phases}
    faults = []
    if len(phases) <= asked.full:
        faults.append(
            f"trains the first {asked.full} in full, and there are {len(phases)}, so none would"
            " ever be ended; leave it out"
        )
    if phases[0].is_control and plan.patience is not None:
        faults.append(
            "compares with controls that the plan's patience may leave out; leave out one of the"
            " two"
        )
    if len(data) > 1:
        faults.append(
            "compares dev values, and theirs are on different data or tokens; leave it out, or give"
            " each an item of its own"
        )
    if len(schedules) > 1:
        faults.append(
            f"compares epochs of one schedule, and the trainings differ in {' or '.join(SCHEDULE)};"
            " leave it out, or give all of them the same"
        )
    names = f"{phases[0].name} to {phases[-1].name}"
    return [f"{names}: stop_early {fault}" for fault in faults]


def of_list(phases: Sequence[Phase], base_seed: int) -> list[str]:
    """What is wrong with the names of all phases, with their parents and with their seeds."""
    faults = _of_names(phases)
    stopped = {phase.name for phase in phases if phase.stop}
    of_base = {base_seed: BASE}
    # Phase -> seed -> which of the phase and its ancestors was trained under it.
    seeds = {BASE: of_base}
    for phase in phases:
        ancestors = seeds.get(phase.parent, of_base)
        seeds[phase.name] = {phase.seed: phase.name, **ancestors}
        if phase.parent in stopped and KINDS[phase.kind].has_parent:
            faults.append(
                f"{phase.name}: its parent {phase.parent} may be ended by stop_early, and then this"
                " phase would be another; give 'parent: best', which no phase that was ended is, or"
                " leave stop_early out"
            )
        of_seed = seed_fault(phase.kind, phase.seed, ancestors)
        if of_seed is not None:
            faults.append(f"{phase.name}: {of_seed}")
    return faults


def _of_names(phases: Sequence[Phase]) -> list[str]:
    faults = []
    for name, count in Counter(phase.name for phase in phases).items():
        # Found by the first phase that is trained, the last two would be too late for the others.
        if count > 1:
            faults.append(f"two phases are named '{name}'")
        if len(name.encode()) > LONGEST_NAME:
            faults.append(
                f"the name '{name[:20]}...' is longer than {LONGEST_NAME} bytes; give a shorter"
            )
        if JOB in name:
            faults.append(
                f"the name '{name}' holds {JOB}, which stands for a job's number where phases are"
                " decoded; give another"
            )
    return faults


def once_more(phases: Sequence[Phase]) -> dict[str, str]:
    """Control -> its fault, where it is the training that it would be compared with."""
    by_name = {phase.name: phase for phase in phases}
    faults = {}
    for control in phases:
        answered = by_name.get(control.answers or "")
        if answered is not None and _trains_alike(control, answered):
            faults[control.name] = (
                f"{control.name} would train {answered.name} once more, for the same result;"
                f" give it another kind or setting, or answers without {answered.name}"
            )
    return faults


def _trains_alike(control: Phase, answered: Phase) -> bool:
    place = {name: getattr(answered, name) for name in ("name", "answers", "in_sweep")}
    if KINDS[control.kind].kept_lr != 0:
        # It acts in frozen layers alone.
        place["dropout"] = answered.dropout
    return replace(control, **place, best_before=answered.best_before) == answered
