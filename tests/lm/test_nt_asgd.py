"""The optimiser and its trigger: when averaging begins, what is averaged, what stays frozen."""

import copy

import pytest
import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.lm.trigger import fires

LOSSES = [5.0, 4.0, 3.0, 3.5, 3.2, 3.3, 3.1, 3.05, 3.04]


def test_trigger_fires_on_the_epoch_worse_than_the_best_of_all_but_the_last_n() -> None:
    from espnet_topdown.lm.nt_asgd import NTASGD, NTASGDTrigger

    fired = {}
    for n in (1, 2, 5):
        optimizer = NTASGD([torch.nn.Parameter(torch.ones(1))])
        trigger = NTASGDTrigger(optimizer, nonmono=n)
        for epoch, loss in enumerate(LOSSES, 1):
            trigger.step(loss)
            if optimizer.averaging:
                fired[n] = epoch
                break
    # 3.2, 3.3 and 3.04 are the first after epoch 3 to be above its 3.0 with n epochs in between.
    assert fired == {1: 5, 2: 6, 5: 9}


def test_a_loss_that_is_not_finite_neither_fires_nor_counts() -> None:
    from espnet_topdown.lm.nt_asgd import NTASGD, NTASGDTrigger

    trigger = NTASGDTrigger(NTASGD([torch.nn.Parameter(torch.ones(1))]), nonmono=1)
    for loss in (3.0, float("nan"), 2.0, float("inf")):
        trigger.step(loss)
    assert trigger.losses == [3.0, 2.0] and not trigger.optimizer.averaging


@pytest.mark.parametrize("lag", [False, True])
def test_averaging_from_the_first_step_equals_pytorchs_asgd(lag: bool) -> None:
    """PyTorch's lags by one learning rate, which does not show at a constant one."""
    from espnet_topdown.lm.nt_asgd import NTASGD

    torch.manual_seed(0)
    start = torch.randn(5, dtype=torch.float64)
    a = torch.nn.Parameter(start.clone())
    b = torch.nn.Parameter(start.clone())
    ours = NTASGD([a], lr=0.5, weight_decay=0.01, averaging=True, lag=lag)
    theirs = torch.optim.ASGD([b], lr=0.5, t0=0, lambd=0.0, weight_decay=0.01)
    for scale in (1.0, 0.5, 1.2, 0.7) if lag else (1.0,) * 4:
        ours.set_lr_scale(scale)
        theirs.param_groups[0]["lr"] = 0.5 * scale
        a.grad, b.grad = torch.sin(a.detach()), torch.sin(b.detach())
        ours.step()
        theirs.step()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.state[a]["average"], theirs.state[b]["ax"])


def test_frozen_parameters_survive_decay_averaging_and_swaps_bit_for_bit() -> None:
    """Frozen after the optimiser was built, as a phase does it; softmax and embedding are tied."""
    from espnet_topdown.lm.awd_lstm import AWDLSTM
    from espnet_topdown.lm.nt_asgd import NTASGD
    from espnet_topdown.lm.stream_model import StreamLanguageModel

    torch.manual_seed(0)
    model = StreamLanguageModel(AWDLSTM(11, unit=5, nhid=7), 11)
    optimizer = NTASGD(model.parameters(), lr=1.0, weight_decay=0.1)
    frozen = set()
    for name, parameter in model.named_parameters():
        if name.startswith(("lm.encoder", "lm.decoder", "lm.rnns.2")):
            parameter.requires_grad_(False)
            frozen.add(name)
    before = copy.deepcopy(model.state_dict())
    for epoch in range(4):
        if epoch == 1:
            optimizer.start_averaging()
        optimizer.use_raw()
        for _ in range(3):
            tokens = torch.randint(11, (6, 2))
            model(tokens[:-1], tokens[1:], True)[0].backward()
            optimizer.step()
            optimizer.zero_grad()
        raw = copy.deepcopy(model.state_dict())
        optimizer.use_average()
        for name, tensor in model.state_dict().items():
            is_frozen = name in frozen or name == "lm.decoder.weight"
            assert torch.equal(tensor, before[name]) == is_frozen, name
            assert torch.equal(tensor, raw[name]) == (is_frozen or epoch == 0), name
        optimizer.use_raw()
        assert all(torch.equal(tensor, raw[name]) for name, tensor in model.state_dict().items())
        optimizer.use_average()
    assert len(optimizer.state) == 8  # four tensors of each of the two lower LSTMs


def test_learning_rate_is_scaled_for_the_step_and_the_base_stays() -> None:
    from espnet_topdown.lm.nt_asgd import NTASGD
    from espnet_topdown.lm.trainer import scaled

    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = NTASGD([p], lr=2.0)
    steps = []
    for _, batch in scaled([([], {"lr_scale": 0.5}), ([], {"lr_scale": 1.25})], [optimizer]):
        assert batch == {}
        before = p.item()
        p.grad = torch.ones(1)
        optimizer.step()
        steps.append(p.item() - before)
    assert steps == [-1.0, -2.5] and optimizer.param_groups[0]["lr"] == 2.0


def test_trigger_refuses_other_optimisers_and_zero() -> None:
    from espnet_topdown.lm.nt_asgd import NTASGD, NTASGDTrigger

    with pytest.raises(TopdownError, match="needs --optim nt_asgd, got SGD"):
        NTASGDTrigger(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0))
    with pytest.raises(TopdownError, match="nonmono must be a whole number > 0, not 0"):
        NTASGDTrigger(NTASGD([torch.nn.Parameter(torch.ones(1))]), nonmono=0)


def test_a_loss_that_equals_the_best_does_not_fire() -> None:
    assert not fires([3.0, 4.0], 3.0, 1)
    assert fires([3.0, 4.0], 3.1, 1)
