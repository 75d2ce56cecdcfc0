"""Factors on the learning rate of some parameters, in ESPnet's own optimisers.

Parameters with a factor form groups of their own; each step of the optimiser multiplies the group's
learning rate by its factor and puts the rate back. So a scheduler sees the rates that it has set,
whatever it computes from them (floors, peaks, means over groups), and the ratio between groups
holds at every step. The factors are in the optimiser's state, as all of a group is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.grouping import grouped

# The key of a group.
FACTOR = "kept_lr"
# Options of schedulers that may be lists, a rate for each group.
_RATES = ("max_lr", "min_lr", "base_lr")
# Of the steps of a test; of what two equal parameters have moved, apart from rounding.
_STEPS = 3
_TOLERANCE = 0.01


def split_groups(
    optimizers: Sequence[torch.optim.Optimizer],
    model: torch.nn.Module,
    factors: Mapping[str, float],
) -> None:
    """Give parameters groups of their own, whose learning rate is multiplied in every step.

    Where no factor is asked for, nothing is changed, so that the state of such a training is
    ESPnet's.

    Args:
        optimizers: as ESPnet built them, before any scheduler.
        model: whose parameters they update.
        factors: parameter's name -> factor between 0 and 1; parameters without one learn at 1.

    Raises:
        TopdownError: several optimisers, or one without parameter groups.
    """
    if not factors:
        return
    if len(optimizers) != 1:
        raise TopdownError(
            f"kept_lr needs a task with one optimiser; this one has {len(optimizers)}. Leave"
            " kept_lr out, or give 0 or 1"
        )
    (optimizer,) = optimizers
    # By identity: a tied parameter has several names.
    by_parameter = {
        id(parameter): factors[name]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name in factors
    }
    whole = list(optimizer.param_groups)
    for group in whole:
        _split(optimizer, group, by_parameter)
    scaled = _Scaled()
    optimizer.register_step_pre_hook(scaled.scale)
    optimizer.register_step_post_hook(scaled.put_back)


def schedule_fault(conf: Mapping[str, Any]) -> str | None:
    """Why options of a scheduler would change the ratio between groups; None where they do not.

    Args:
        conf: ``scheduler_conf``.
    """
    own = [key for key in _RATES if isinstance(conf.get(key), list | tuple)]
    if not own:
        return None
    return (
        f"scheduler_conf gives each group its own {', '.join(own)}, and kept_lr is a factor on one"
        " rate for all; give one number"
    )


def _split(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], factors: Mapping[int, float]
) -> None:
    """Move the parameters of a group that have a factor to groups behind all others."""
    parts = grouped(group["params"], lambda parameter: factors.get(id(parameter), 1.0))
    rest = parts.pop(1.0, [])
    # In place, since schedulers and the optimiser hold the group itself.
    group["params"][:] = rest
    # The fastest first, whatever the order of the layers.
    for factor in sorted(parts, reverse=True):
        optimizer.add_param_group({**group, "params": parts[factor], FACTOR: factor})
    if not rest:
        # By identity: groups hold tensors, which have no one answer to ==.
        optimizer.param_groups[:] = [own for own in optimizer.param_groups if own is not group]


class _Scaled:
    """The hooks around a step: the rates of groups with a factor, multiplied and put back."""

    def __init__(self) -> None:
        self._rates: list[Any] = []

    def scale(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Multiply the learning rates by the factors."""
        self._rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            # A group that ESPnet's state brings back has its factor too.
            group["lr"] = group["lr"] * group.get(FACTOR, 1.0)

    def put_back(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Set the rates that the scheduler knows, the same numbers."""
        for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate


def log_rates_of_steps(reporter: Any, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Let a reporter record each group's learning rate as its steps had it.

    ESPnet registers what the scheduler set (espnet2/train/trainer.py, train_one_epoch), as
    ``optim0_lr1`` for the second group of the first optimiser.

    Args:
        reporter: ESPnet's `SubReporter` of an epoch.
        optimizers: of the training.
    """
    factors: dict[str, float] = {}
    for number, optimizer in enumerate(optimizers):
        for place, group in enumerate(optimizer.param_groups):
            factors[f"optim{number}_lr{place}"] = group.get(FACTOR, 1.0)
    if set(factors.values()) <= {1.0}:
        return
    register = reporter.register

    def registered(stats: Mapping[str, Any], weight: Any = None) -> None:
        scaled = {name: stats[name] * factors[name] for name in factors.keys() & stats.keys()}
        register({**stats, **scaled}, weight)

    reporter.register = registered


class Probe(torch.nn.Module):
    """Two equal parameters, for `ratio_fault`."""

    def __init__(self) -> None:
        super().__init__()
        # Of two dimensions, as some optimisers need.
        values = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)
        self.whole = torch.nn.Parameter(values.clone())
        self.slow = torch.nn.Parameter(values.clone())


def ratio_fault(probe: Probe, optimizers: Sequence[torch.optim.Optimizer]) -> str | None:
    """Why an optimiser does not follow the learning rates of groups; None where it does.

    Args:
        probe: whose parameters have not moved yet.
        optimizers: built for it by ESPnet, with the options of the training.
    """
    factor = 0.5
    try:
        split_groups(optimizers, probe, {"slow": factor})
        (optimizer,) = optimizers
        whole, slow = _moved(probe, optimizer)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        # Some use a rate one step late.
        _moved(probe, optimizer)
        still = max(_moved(probe, optimizer))
    except TopdownError as error:
        return str(error)
    # Whatever a class says against groups, or against a step without a closure.
    except Exception as error:  # noqa: BLE001
        return f"it cannot have parameter groups ({error})"
    if abs(slow - factor * whole) > _TOLERANCE * factor * whole:
        return f"of two equal parameters, one at half the rate moved {slow:g}, the other {whole:g}"
    return "its parameters move at a learning rate of 0" if still else None


def _moved(probe: Probe, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """How far some steps of one gradient move the parameter without a factor and that with one."""
    before = [parameter.detach().clone() for parameter in (probe.whole, probe.slow)]
    for _ in range(_STEPS):
        for parameter in probe.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    whole, slow = before
    return (probe.whole - whole).norm().item(), (probe.slow - slow).norm().item()
