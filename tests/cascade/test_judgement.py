"""Acceptance and the plan's patience, on records written by hand."""

from collections.abc import Mapping

import pytest

from espnet_topdown.cascade.judgement import best_value, judge
from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.plan.plan import Phase, Plan

BASE_VALUE = 0.5


def candidate(name: str, parent: str = "phase0", *, in_sweep: bool = False) -> Phase:
    return Phase(name, "top_down", "decoder", parent, 1, in_sweep=in_sweep)


def control(answers: str) -> Phase:
    name = f"restart_{answers}"
    return Phase(name, "restart", None, "phase0", 1, answers=answers)


def records(**curves: list[float]) -> dict[str, Mapping[str, object]]:
    """The part of records that decides: the dev curve of each finished phase."""
    return {name: {"dev": {"curve": curve}} for name, curve in curves.items()}


def chain(length: int) -> list[Phase]:
    return [candidate(f"phase{number}") for number in range(1, length + 1)]


def test_without_records_phase0_is_the_best_and_nothing_is_skipped() -> None:
    judgement = judge(chain(2), {}, Plan(entries=(), patience=1), base_value=0.5, mode="max")
    assert judgement.dev == {"phase0": 0.5}
    assert judgement.best == "phase0"
    assert not judgement.accepted and not judgement.skipped


@pytest.mark.parametrize(
    ("mode", "curves", "accepted", "best"),
    [
        ("max", [[0.6, 0.4], [0.55]], [True, False], "phase1"),
        ("max", [[0.4], [0.7]], [False, True], "phase2"),
        ("max", [[0.5], [0.5]], [False, False], "phase0"),
        ("min", [[0.6, 0.4], [0.55]], [True, False], "phase1"),
        ("min", [[0.45], [0.3, 0.9]], [True, True], "phase2"),
    ],
)
def test_a_candidate_is_accepted_when_its_best_epoch_beats_the_best_so_far(
    mode: str, curves: list[list[float]], accepted: list[bool], best: str
) -> None:
    finished = records(phase1=curves[0], phase2=curves[1])
    judgement = judge(chain(2), finished, Plan(entries=()), base_value=BASE_VALUE, mode=mode)
    assert list(judgement.accepted.values()) == accepted
    assert judgement.best == best


@pytest.mark.parametrize(("value", "is_accepted"), [(0.75, False), (0.76, True)])
def test_a_gain_must_be_more_than_the_least(value: float, is_accepted: bool) -> None:
    plan = Plan(entries=(), min_gain=0.25)
    judgement = judge(chain(1), records(phase1=[value]), plan, base_value=0.5, mode="max")
    assert judgement.accepted == {"phase1": is_accepted}


def test_a_control_is_never_best_and_never_accepted() -> None:
    phases = [*chain(1), control("phase1")]
    finished = records(phase1=[0.6], restart_phase1=[0.9])
    judgement = judge(phases, finished, Plan(entries=()), base_value=0.5, mode="max")
    assert judgement.dev["restart_phase1"] == 0.9
    assert judgement.accepted == {"phase1": True}
    assert judgement.best == "phase1"


def test_after_rejections_in_a_row_the_rest_and_its_controls_are_skipped() -> None:
    phases = [*chain(4), control("phase3"), control("phase1")]
    finished = records(phase1=[0.4], phase2=[0.3])
    plan = Plan(entries=(), patience=2)
    judgement = judge(phases, finished, plan, base_value=0.5, mode="max")
    assert judgement.skipped == {"phase3", "phase4", "restart_phase3"}


def test_an_acceptance_starts_the_count_anew() -> None:
    finished = records(phase1=[0.4], phase2=[0.6], phase3=[0.4])
    plan = Plan(entries=(), patience=2)
    assert not judge(chain(4), finished, plan, base_value=0.5, mode="max").skipped


def test_a_sweep_neither_counts_for_stopping_nor_is_stopped() -> None:
    swept = [candidate(f"phase{number}", in_sweep=True) for number in (1, 2)]
    phases = [*swept, candidate("phase3"), candidate("phase4", in_sweep=True)]
    plan = Plan(entries=(), patience=1)
    finished = records(phase1=[0.4], phase2=[0.3])
    assert not judge(phases, finished, plan, base_value=0.5, mode="max").skipped
    finished |= records(phase3=[0.4])
    assert not judge(phases, finished, plan, base_value=0.5, mode="max").skipped


def test_the_best_value_passes_over_epochs_that_were_not_measured_or_diverged() -> None:
    assert best_value([None, 0.25, float("nan"), float("inf"), 0.5], "max") == 0.5
    assert best_value([None, 0.25, float("-inf"), 0.5], "min") == 0.25
    assert best_value([None, float("nan")], "max") is None


def test_a_criterion_is_read_from_rows_of_epochs() -> None:
    criterion = Criterion("valid", "acc", "max")
    rows = [{"epoch": 1, "valid": {"acc": 0.25}}, {"epoch": 2, "valid": {}}, {"epoch": 3}]
    assert criterion.curve(rows) == [0.25, None, None]
    assert criterion.name == "valid acc max"


def on_data(name: str, valid_set: str | None, tokens: str | None = None) -> Phase:
    data = {"valid": valid_set} if valid_set else {}
    return Phase(name, "top_down", "decoder", "phase0", 1, data=data, tokens=tokens)


def test_phases_are_compared_on_one_validation_set_alone() -> None:
    """Phase 1 is worse on noise than phase 0 is on clean speech, and better than it on noise."""
    phases = [on_data("phase1", "noisy"), on_data("phase2", "noisy"), on_data("phase3", None)]
    finished = records(phase1=[0.3], phase2=[0.25], phase3=[0.55])
    measured = {("phase0", "noisy"): 0.2, ("phase1", ""): 0.6}
    plan = Plan(entries=())
    judgement = judge(phases, finished, plan, base_value=0.5, mode="max", measured=measured)
    assert judgement.accepted == {"phase1": True, "phase2": False, "phase3": False}
    assert judgement.best == "phase1"
    assert not judgement.lacking
    del measured["phase1", ""]
    judgement = judge(phases, finished, plan, base_value=0.5, mode="max", measured=measured)
    assert judgement.lacking == {("phase1", "")}


def test_values_over_other_tokens_are_compared_among_themselves() -> None:
    phases = [on_data("phase1", None, "bpe"), on_data("phase2", None, "bpe")]
    phases.append(on_data("phase3", None))
    finished = records(phase1=[0.3], phase2=[0.4], phase3=[0.45])
    judgement = judge(phases, finished, Plan(entries=()), base_value=0.5, mode="max")
    # Phase 3 has phase 0's tokens, and is worse than it.
    assert judgement.accepted == {"phase1": True, "phase2": True, "phase3": False}
    assert judgement.best == "phase0"
    judgement = judge(phases[:2], finished, Plan(entries=()), base_value=0.5, mode="max")
    assert judgement.best == "phase2"
    assert not judgement.lacking


def test_a_base_without_a_value_of_its_own_is_no_missing_measurement() -> None:
    judged = judge(chain(1), records(phase1=[0.3]), Plan(entries=()), base_value=None, mode="max")
    assert not judged.lacking
