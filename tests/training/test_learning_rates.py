"""Factors on learning rates: the ratio holds at every step, whatever the optimiser's schedule."""

import argparse
import copy
import warnings
from typing import Any

import pytest
import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.training.learning_rates import (
    FACTOR,
    Probe,
    log_rates_of_steps,
    ratio_fault,
    schedule_fault,
    split_groups,
)

FACTORS = {"slow": 0.1}
# scheduler -> its options; all but the first have numbers of their own beside the optimiser's rate.
SCHEDULERS: dict[str, dict[str, Any]] = {
    "warmuplr": {"warmup_steps": 4},
    "noamlr": {"model_size": 16, "warmup_steps": 4},
    "onecyclelr": {"max_lr": 0.3, "total_steps": 20},
    "cosineannealinglr": {"T_max": 8, "eta_min": 0.04},
    "cosineannealingwarmrestarts": {"T_0": 3, "eta_min": 0.04},
    "reducelronplateau": {"patience": 0, "factor": 0.5, "min_lr": 0.06},
    "warmupreducelronplateau": {"warmup_steps": 3, "patience": 0, "factor": 0.5, "min_lr": 0.06},
    "tristagelr": {"max_steps": 12, "final_lr_scale": 0.2},
    "exponentialdecaywarmup": {
        "max_lr": 0.3,
        "min_lr": 0.05,
        "total_steps": 20,
        "warmup_steps": 3,
        "warm_from_zero": True,
    },
    "cosineannealingwarmuprestarts": {"first_cycle_steps": 6, "max_lr": 0.3, "min_lr": 0.05},
    "multisteplr": {"milestones": [2, 5], "gamma": 0.3},
}


def built(optim: str, **conf: Any) -> tuple[Probe, torch.optim.Optimizer]:
    """A probe and the optimiser that ESPnet builds for it."""
    from espnet_topdown.lm import register
    from espnet_topdown.training.tasks import TopdownASRTask

    register()
    probe = Probe()
    args = argparse.Namespace(
        optim=optim,
        optim_conf=conf,
        sharded_ddp=False,
        exclude_weight_decay=False,
        exclude_weight_decay_conf={},
    )
    (optimizer,) = TopdownASRTask.build_optimizers(args, probe)
    return probe, optimizer


def scheduler_of(name: str, optimizer: torch.optim.Optimizer) -> Any:
    from espnet2.tasks.abs_task import scheduler_classes

    if name not in scheduler_classes:
        pytest.skip(f"this ESPnet has no {name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return scheduler_classes[name](optimizer, **SCHEDULERS[name])


def step(probe: Probe, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """How far one step of a gradient of ones moves both parameters."""
    before = [probe.whole.detach().clone(), probe.slow.detach().clone()]
    for parameter in probe.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = [
        (now - old).abs().max().item() for now, old in zip(probe.parameters(), before, strict=True)
    ]
    return moved[0], moved[1]


def advance(scheduler: Any, number: int) -> None:
    """What ESPnet does with a scheduler after a batch, each of which is an epoch here."""
    from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler, AbsValEpochStepScheduler

    waits_for_epochs = isinstance(scheduler, AbsValEpochStepScheduler)
    if isinstance(scheduler, AbsBatchStepScheduler) or not waits_for_epochs:
        scheduler.step()
    if waits_for_epochs:
        # Never better than the first.
        scheduler.step(1.0 + number)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_keeps_the_ratio_at_every_step(name, espnet):
    plain, reference = built("sgd", lr=0.2)
    probe, optimizer = built("sgd", lr=0.2)
    split_groups([optimizer], probe, FACTORS)
    schedulers = [scheduler_of(name, reference), scheduler_of(name, optimizer)]
    rates = []
    for number in range(8):
        undivided, _ = step(plain, reference)
        whole, slow = step(probe, optimizer)
        # As without factors, and the slow one at its share.
        assert whole == pytest.approx(undivided, rel=1e-5)
        assert slow == pytest.approx(0.1 * whole, rel=1e-4, abs=1e-9)
        rates.append(whole)
        for scheduler in schedulers:
            advance(scheduler, number)
    assert len({round(rate, 6) for rate in rates}) > 1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_after_a_resume_every_scheduler_goes_on_bit_identically(name, espnet):
    probe, optimizer = built("adam", lr=0.2)
    split_groups([optimizer], probe, FACTORS)
    scheduler = scheduler_of(name, optimizer)
    for number in range(3):
        step(probe, optimizer)
        advance(scheduler, number)
    saved = [copy.deepcopy(part.state_dict()) for part in (probe, optimizer, scheduler)]
    again, resumed = built("adam", lr=0.2)
    split_groups([resumed], again, FACTORS)
    schedule = scheduler_of(name, resumed)
    for part, state in zip((again, resumed, schedule), saved, strict=True):
        part.load_state_dict(state)
    for number in range(3, 8):
        assert step(again, resumed) == step(probe, optimizer)
        advance(scheduler, number)
        advance(schedule, number)
    assert torch.equal(again.slow, probe.slow)
    assert not torch.equal(again.slow, again.whole)


@pytest.mark.parametrize(
    ("optim", "conf"),
    [
        ("adam", {"lr": 0.01, "weight_decay": 0.1}),
        ("adamw", {"lr": 0.01}),
        ("adadelta", {"lr": 1.0}),
        ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("rmsprop", {"lr": 0.01}),
        ("radam", {"lr": 0.01}),
        ("asgd", {"lr": 0.01}),
        ("nt_asgd", {"lr": 1.0, "averaging": True, "lag": True}),
    ],
)
def test_espnets_optimisers_follow_the_rates_of_groups(optim, conf, espnet):
    probe, optimizer = built(optim, **conf)
    assert ratio_fault(probe, [optimizer]) is None


def test_an_optimiser_that_needs_a_closure_is_refused(espnet):
    probe, optimizer = built("lbfgs")
    assert "cannot have parameter groups" in ratio_fault(probe, [optimizer])


class OneRate(torch.optim.SGD):
    """An optimiser that reads the rate that it was built with alone."""

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data -= self.defaults["lr"] * parameter.grad


class FirstGroups(torch.optim.SGD):
    """An optimiser that updates the groups that it was built with alone."""

    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.data -= self.param_groups[0]["lr"] * parameter.grad


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (OneRate, "of two equal parameters, one at half the rate moved 0.73"),
        (FirstGroups, "of two equal parameters, one at half the rate moved 0, the other 0.73"),
        (torch.optim.Rprop, "its parameters move at a learning rate of 0"),
    ],
)
def test_an_optimiser_that_ignores_groups_is_refused(kind, fault):
    probe = Probe()
    assert ratio_fault(probe, [kind(probe.parameters(), lr=0.1)]).startswith(fault)


def test_groups_of_espnet_are_divided_and_the_rest_is_as_it_was():
    """As `exclude_weight_decay` makes them."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    weights = [layer.weight for layer in model]
    biases = [layer.bias for layer in model]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    factors = {"1.weight": 0.5, "1.bias": 0.5, "2.weight": 0.2}
    split_groups([optimizer], model, factors)
    found = [
        (group["params"], group["weight_decay"], group.get(FACTOR))
        for group in optimizer.param_groups
    ]
    expected = [
        ([weights[0]], 0.1, None),
        ([biases[0], biases[2]], 0.0, None),
        ([weights[1]], 0.1, 0.5),
        ([weights[2]], 0.1, 0.2),
        ([biases[1]], 0.0, 0.5),
    ]
    assert [(decay, factor) for _, decay, factor in found] == [row[1:] for row in expected]
    for (own, *_), (wanted, *_) in zip(found, expected, strict=True):
        assert list(map(id, own)) == list(map(id, wanted))


def test_a_group_whose_parameters_all_have_a_factor_leaves_none_empty():
    probe = Probe()
    optimizer = torch.optim.SGD(probe.parameters(), lr=1.0)
    split_groups([optimizer], probe, {"whole": 0.5, "slow": 0.1})
    assert [group[FACTOR] for group in optimizer.param_groups] == [0.5, 0.1]


def test_without_factors_nothing_is_changed():
    probe = Probe()
    optimizer = torch.optim.SGD(probe.parameters(), lr=1.0)
    before = optimizer.state_dict()
    split_groups([optimizer], probe, {})
    assert optimizer.state_dict() == before


@pytest.mark.parametrize("fused", [False, True])
def test_the_ratio_holds_under_a_gradient_scaler_and_an_overflow_changes_nothing(fused):
    # Of mixed precision: a fused optimiser is stepped through an overflow, another is not.
    probe = Probe()
    optimizer = torch.optim.SGD(probe.parameters(), lr=0.1, fused=fused)
    split_groups([optimizer], probe, FACTORS)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    start = probe.slow.detach().clone()

    scaler.scale(probe.whole.sum() + probe.slow.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(start - probe.whole, torch.full_like(start, 0.1))
    torch.testing.assert_close(start - probe.slow, torch.full_like(start, 0.01))

    moved = probe.slow.detach().clone()
    optimizer.zero_grad()
    scaler.scale(probe.whole.sum() + float("inf") * probe.slow.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(probe.slow, moved)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]


def test_several_optimisers_are_refused():
    probe = Probe()
    optimizers = [torch.optim.SGD([parameter], lr=1.0) for parameter in probe.parameters()]
    with pytest.raises(TopdownError, match="one optimiser; this one has 2"):
        split_groups(optimizers, probe, FACTORS)


def test_factors_come_back_with_the_optimisers_state():
    probe = Probe()
    optimizer = torch.optim.SGD(probe.parameters(), lr=1.0)
    split_groups([optimizer], probe, FACTORS)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.5
    state = optimizer.state_dict()
    again, resumed = Probe(), None
    resumed = torch.optim.SGD(again.parameters(), lr=1.0)
    split_groups([resumed], again, FACTORS)
    resumed.load_state_dict(state)
    assert step(again, resumed) == pytest.approx((0.5, 0.05), rel=1e-5)


def test_the_log_has_the_rates_of_the_steps():
    probe = Probe()
    optimizer = torch.optim.SGD(probe.parameters(), lr=2.0)
    split_groups([optimizer], probe, FACTORS)
    seen = []

    class Reporter:
        def register(self, stats: dict[str, float], weight: float | None = None) -> None:
            seen.append((stats, weight))

    reporter = Reporter()
    log_rates_of_steps(reporter, [optimizer])
    reporter.register({"optim0_lr0": 2.0, "optim0_lr1": 2.0, "loss": 3.0}, 5)
    assert seen == [({"optim0_lr0": 2.0, "optim0_lr1": 0.2, "loss": 3.0}, 5)]


def test_nt_asgd_averages_every_group(espnet):
    """The average is the mean of the iterates, of slow parameters too."""
    from espnet_topdown.lm.nt_asgd import NTASGD

    probe = Probe()
    optimizer = NTASGD(probe.parameters(), lr=0.5)
    split_groups([optimizer], probe, FACTORS)
    optimizer.set_lr_scale(2.0)
    assert step(probe, optimizer) == pytest.approx((1.0, 0.1), rel=1e-5)
    optimizer.start_averaging()
    iterates = []
    for _ in range(3):
        step(probe, optimizer)
        iterates.append((probe.whole.detach().clone(), probe.slow.detach().clone()))
    optimizer.use_average()
    # The iterate of the first step of averaging leaves the mean.
    for number, parameter in enumerate((probe.whole, probe.slow)):
        expected = (iterates[1][number] + iterates[2][number]) / 2
        assert torch.allclose(parameter, expected, atol=1e-6)
    optimizer.use_raw()
    assert torch.equal(probe.slow, iterates[2][1])


def test_a_schedule_with_a_least_rate_for_each_group_is_a_fault():
    assert schedule_fault({"min_lr": [1e-5, 1e-6]})
