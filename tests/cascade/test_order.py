"""What waits for what, what can start, and how long a cascade would take."""

from dataclasses import replace

import pytest

from espnet_topdown.cascade.order import makespan, ready, waits_of
from espnet_topdown.plan.plan import Phase, Plan
from espnet_topdown.plan.stopping import MedianStop

PLAN = Plan(entries=())
IN_TURN = Plan(entries=(), patience=1)


def candidate(name: str, parent: str = "phase0", *, in_sweep: bool = False) -> Phase:
    return Phase(name, "top_down", "decoder", parent, 1, in_sweep=in_sweep)


def control(answers: str, kind: str = "restart", parent: str = "phase0") -> Phase:
    return Phase(f"{kind}_{answers}", kind, None, parent, 1, answers=answers)


def chain(length: int) -> list[Phase]:
    """Each the child of the one before."""
    parents = ["phase0", *(f"phase{number}" for number in range(1, length))]
    return [candidate(f"phase{number}", parent) for number, parent in enumerate(parents, 1)]


def names_ready(phases: list[Phase], plan: Plan = PLAN, **states: list[str]) -> list[str]:
    names = {"finished": [], "failed": [], "running": [], "skipped": [], **states}
    return [phase.name for phase in ready(phases, waits_of(phases, plan), **names)]


def test_of_a_chain_one_is_ready_at_a_time_and_none_after_a_failure() -> None:
    assert names_ready(chain(3)) == ["phase1"]
    assert names_ready(chain(3), running=["phase1"]) == []
    assert names_ready(chain(3), finished=["phase1"]) == ["phase2"]
    assert names_ready(chain(3), failed=["phase1"]) == []


def test_phases_of_other_parents_wait_for_nothing_unless_the_plan_has_a_patience() -> None:
    phases = [candidate("phase1"), candidate("phase2", "phase1"), candidate("lr_double")]
    assert names_ready(phases) == ["phase1", "lr_double"]
    assert names_ready(phases, IN_TURN) == ["phase1"]
    assert names_ready(phases, IN_TURN, finished=["phase1"]) == ["phase2"]
    assert names_ready(phases, IN_TURN, finished=["phase1"], failed=["phase2"]) == ["lr_double"]
    assert names_ready(phases, IN_TURN, finished=["phase1"], skipped=["phase2", "lr_double"]) == []


def test_a_sweep_and_controls_are_ready_together() -> None:
    swept = [candidate(f"phase{number}", in_sweep=True) for number in (1, 2)]
    phases = [*swept, candidate("phase3", "phase2"), control("phase3")]
    assert names_ready(phases, IN_TURN) == ["phase1", "phase2", "restart_phase3"]
    assert names_ready(phases, IN_TURN, finished=["phase2"]) == [
        "phase1",
        "phase3",
        "restart_phase3",
    ]


def test_a_child_of_the_best_waits_until_all_candidates_before_it_have_ended() -> None:
    phases = [*chain(2), control("phase1"), candidate("phase3", "best", in_sweep=True)]
    assert names_ready(phases, finished=["phase1", "restart_phase1"]) == ["phase2"]
    assert names_ready(phases, finished=["phase1", "phase2"]) == ["restart_phase1", "phase3"]
    # What the patience leaves out is not waited for.
    assert names_ready(phases, IN_TURN, finished=["phase1"], skipped=["phase2"]) == [
        "restart_phase1",
        "phase3",
    ]


def test_a_control_of_the_best_waits_for_no_more_than_the_phase_that_it_answers() -> None:
    own = replace(control("phase2", "continue", "best"), best_before="phase2")
    phases = [*chain(3), own]
    assert names_ready(phases) == ["phase1"]
    assert names_ready(phases, finished=["phase1"]) == ["phase2", "continue_phase2"]


def test_what_keeps_nothing_of_a_parent_does_not_wait_for_it() -> None:
    assert names_ready([*chain(1), control("phase1", parent="phase1")])[-1] == "restart_phase1"


def stopped_sweep(length: int) -> list[Phase]:
    """A sweep whose first two phases are trained in full."""
    phases = [candidate(f"phase{number}", in_sweep=True) for number in range(1, length + 1)]
    stop = MedianStop(from_epoch=2, siblings=("phase1", "phase2"))
    return [*phases[:2], *(replace(phase, stop=stop) for phase in phases[2:])]


def test_a_phase_that_may_be_ended_waits_for_those_that_it_is_compared_with() -> None:
    phases = stopped_sweep(4)
    assert names_ready(phases) == ["phase1", "phase2"]
    assert names_ready(phases, finished=["phase1"], failed=["phase2"]) == []
    assert names_ready(phases, finished=["phase1", "phase2"]) == ["phase3", "phase4"]


@pytest.mark.parametrize(
    ("jobs", "hours"),
    # One at a time: all of them. Two: (1, 2), (3, 4). Four: as two, since 3 and 4 wait.
    [(1, 8.0), (2, 4.0), (4, 4.0)],
)
def test_a_makespan_is_that_of_the_order_in_which_phases_are_started(
    jobs: int, hours: float
) -> None:
    phases = stopped_sweep(4)
    costs = {phase.name: 2.0 for phase in phases}
    waits = waits_of(phases, PLAN)
    assert makespan(phases, waits, costs, jobs=jobs) == hours


def test_a_makespan_leaves_out_what_is_finished_or_skipped_or_can_never_start() -> None:
    phases = [*chain(3), control("phase1")]
    waits = waits_of(phases, IN_TURN)
    costs = {"phase1": 5.0, "phase2": 3.0, "phase3": 2.0, "restart_phase1": 4.0}
    assert makespan(phases, waits, costs, jobs=9) == 10.0
    assert makespan(phases, waits, costs, jobs=9, finished=["phase1"]) == 5.0
    assert makespan(phases, waits, costs, jobs=9, finished=["phase1"], skipped=["phase3"]) == 4.0
    assert makespan(phases, waits, costs, jobs=1, skipped=["phase1"]) == 4.0
