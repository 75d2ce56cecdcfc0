"""NT-ASGD.

SGD that starts averaging its weights once validation stops improving, as one optimiser and its
trigger.

Both keep all they know in their `state_dict`, so that ESPnet2's checkpoint resumes them exactly.
Who validates and saves with the averages is `trainer`'s business.
"""

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsValEpochStepScheduler
from torch import Tensor

from espnet_topdown.errors import TopdownError


class NTASGD(torch.optim.Optimizer):
    """SGD with weight decay and, from a flag on, the plain average of its iterates.

    Chosen by ``--optim nt_asgd``.

    The step is ``lr * lr_scale * (gradient + weight_decay * weight)`` in both modes. The average
    after k steps of averaging is the mean of the weights after steps 2..k (after step 1: those of
    step 1), as in torch.optim.ASGD with t0 = 0 and lambd = 0, which the reference implementation
    switches to. A parameter without gradient (frozen) is not touched: no step, no decay, no
    average, no state.

    Args:
        params: parameters or groups.
        lr: base learning rate; `lr_scale` of a group multiplies it (set for each window, after
            clipping).
        weight_decay: L2 factor on every trainable parameter, biases included.
        averaging: average from the first step on (the reference's fine-tuning run).
        lag: while averaging, step with the learning rate of the previous window, as
            torch.optim.ASGD does.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 30.0,
        weight_decay: float = 0.0,
        averaging: bool = False,
        lag: bool = False,
    ) -> None:
        if lr < 0 or weight_decay < 0:
            raise TopdownError(
                f"optim_conf of nt_asgd: lr {lr} and weight_decay {weight_decay} must not be"
                " negative."
            )
        defaults = dict(lr=lr, weight_decay=weight_decay, averaging=averaging, lag=lag)
        super().__init__(params, defaults | dict(lr_scale=1.0, averaged_steps=0, previous_lr=None))

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update of every parameter that has a gradient.

        The closure's loss, if one was given.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr = self._lr(group)
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - lr * group["weight_decay"]).add_(p.grad, alpha=-lr)
                    if group["averaging"]:
                        self._average(p, group["averaged_steps"])
        return loss

    def start_averaging(self) -> None:
        """From the next step on, the iterates are averaged.

        A run that averages already goes on unchanged.
        """
        for group in self.param_groups:
            group["averaging"] = True

    @property
    def averaging(self) -> bool:
        """Whether iterates are being averaged."""
        return all(group["averaging"] for group in self.param_groups)

    def set_lr_scale(self, scale: float) -> None:
        """Multiplies the learning rate of the steps to come, until it is set again."""
        for group in self.param_groups:
            group["lr_scale"] = scale

    @torch.no_grad()
    def use_average(self) -> None:
        """Puts the averages, where there are any, into the model bit for bit, and keeps the raw
        weights.
        """
        for p, state in self.state.items():
            if "average" in state and "raw" not in state:
                state["raw"] = p.detach().clone()
                p.copy_(state["average"])

    @torch.no_grad()
    def use_raw(self) -> None:
        """Puts the raw weights back, bit for bit; does nothing where they are in place."""
        for p, state in self.state.items():
            if "raw" in state:
                p.copy_(state.pop("raw"))

    def _lr(self, group: dict[str, Any]) -> float:
        """The learning rate of this step; counts the step while averaging."""
        lr = used = group["lr"] * group["lr_scale"]
        if group["averaging"]:
            if group["lag"] and group["previous_lr"] is not None:
                used = group["previous_lr"]
            group["previous_lr"] = lr
            group["averaged_steps"] += 1
        return used

    def _average(self, p: Tensor, steps: int) -> None:
        """Takes the weights after averaging step number `steps` into the mean."""
        state = self.state[p]
        if "average" not in state:
            state["average"] = p.detach().clone()
        else:
            state["average"].lerp_(p, 1 / max(1, steps - 1))


class NTASGDTrigger(AbsValEpochStepScheduler):
    """Starts the averaging of an `NTASGD`, once; chosen by ``--scheduler nt_asgd_trigger``.

    It fires after the first validation that is worse than the best of all but the last `nonmono`
    before it. ESPnet2's trainer calls `step` after each validation with the value of
    ``val_scheduler_criterion`` (valid loss by default).

    Args:
        optimizer: the optimiser that it starts.
        nonmono: n of the paper, at least 1.

    Raises:
        TopdownError: another optimiser, or `nonmono` below 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, nonmono: int = 5) -> None:
        if not isinstance(optimizer, NTASGD):
            raise TopdownError(
                "--scheduler nt_asgd_trigger needs --optim nt_asgd, got"
                f" {type(optimizer).__name__}."
            )
        if nonmono < 1:
            raise TopdownError(
                f"scheduler_conf of nt_asgd_trigger: nonmono is {nonmono}, at least 1 is needed."
            )
        self.optimizer = optimizer
        self.nonmono = nonmono
        self.losses: list[float] = []

    def step(self, val: float, epoch: int | None = None) -> None:
        """Takes an epoch's validation loss; one that is not finite neither fires nor counts."""
        val = float(val)
        if self.optimizer.averaging or not isfinite(val):
            return
        if len(self.losses) > self.nonmono and val > min(self.losses[: -self.nonmono]):
            self.optimizer.start_averaging()
        self.losses.append(val)

    def state_dict(self) -> dict[str, list[float]]:
        """The losses so far; whether it has fired is in the optimiser's own state."""
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Continues from the losses of `state_dict`."""
        self.losses = list(state["losses"])
