"""NT-ASGD: SGD that averages its weights once validation stops improving, and its trigger.

One optimiser for both parts, since ESPnet2 resumes the state of the optimiser that it built: all
that is known is in the `state_dict` of the two. Who validates and saves with the averages is
`trainer`'s business. "Reference" is salesforce/awd-lstm-lm, whose main.py makes a new
torch.optim.ASGD instead.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsValEpochStepScheduler
from torch import Tensor

from espnet_topdown import check
from espnet_topdown.errors import TopdownError
from espnet_topdown.lm.trigger import NONMONO, fires


class NTASGD(torch.optim.Optimizer):
    """SGD with weight decay and, from a flag on, the plain average of its iterates.

    Chosen by ``--optim nt_asgd``.

    The step is ``lr * lr_scale * (gradient + weight_decay * weight)`` in both parts. The average
    after k steps of averaging is the mean of the weights after steps 2..k (after step 1: those of
    step 1), as in torch.optim.ASGD with t0 = 0 and lambd = 0, which the reference switches to. A
    parameter without gradient (frozen) is not touched: no step, no decay, no average, no state.

    Args:
        params: parameters or groups.
        lr: base learning rate, at least 0; `lr_scale` of a group multiplies it (set for each
            window, after clipping).
        weight_decay: L2 factor on every trainable parameter, biases included; at least 0.
        averaging: average from the first step on (the reference's finetune.py).
        lag: while averaging, step with the learning rate of the previous window, as
            torch.optim.ASGD does.

    Raises:
        TopdownError: a negative number.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 30.0,
        weight_decay: float = 0.0,
        averaging: bool = False,
        lag: bool = False,
    ) -> None:
        rates = dict(lr=lr, weight_decay=weight_decay)
        faults = check.faults(rates, dict.fromkeys(rates, check.NOT_NEGATIVE))
        check.refuse_options("optim_conf of nt_asgd", faults)
        options = rates | dict(averaging=averaging, lag=lag)
        counters = dict(lr_scale=1.0, averaged_steps=0, previous_lr=None)
        super().__init__(params, options | counters)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; a closure is not taken."""
        for group in self.param_groups:
            lr = self._next_lr(group)
            decay = 1 - lr * group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue  # frozen
                p.mul_(decay).add_(p.grad, alpha=-lr)
                if group["averaging"]:
                    self._average(p, group["averaged_steps"])

    def start_averaging(self) -> None:
        """Average the iterates from the next step on; one that averages already goes on."""
        for group in self.param_groups:
            group["averaging"] = True

    @property
    def averaging(self) -> bool:
        """Whether iterates are being averaged."""
        return all(group["averaging"] for group in self.param_groups)

    def set_lr_scale(self, scale: float) -> None:
        """Multiply the learning rate of the steps to come, until it is set again."""
        for group in self.param_groups:
            group["lr_scale"] = scale

    @torch.no_grad()
    def use_average(self) -> None:
        """Put the averages, where there are any, into the model, and keep the raw weights."""
        for p, state in self.state.items():
            # "raw" is there when the averages are in place already.
            if "average" in state and "raw" not in state:
                state["raw"] = p.detach().clone()
                p.copy_(state["average"])

    @torch.no_grad()
    def use_raw(self) -> None:
        """Put the raw weights back, bit for bit; do nothing where they are in place."""
        for p, state in self.state.items():
            if "raw" in state:
                p.copy_(state.pop("raw"))

    def _next_lr(self, group: dict[str, Any]) -> float:
        """The learning rate of a group's next step, which is counted while averaging."""
        lr = group["lr"] * group["lr_scale"]
        if not group["averaging"]:
            return lr
        # torch.optim.ASGD computes the rate of the next step at the end of a step, from the group's
        # learning rate of then.
        previous = group["previous_lr"]
        group["previous_lr"] = lr
        group["averaged_steps"] += 1
        is_late = group["lag"] and previous is not None
        return previous if is_late else lr

    def _average(self, p: Tensor, steps: int) -> None:
        """Take the weights after averaging step number `steps` into the mean."""
        state = self.state[p]
        if "average" not in state:
            state["average"] = p.detach().clone()
            return
        # At step 2 the share is 1: the iterate of step 1 leaves the mean, as in torch.optim.ASGD.
        share = 1 / max(1, steps - 1)
        state["average"].lerp_(p, share)


class NTASGDTrigger(AbsValEpochStepScheduler):
    """Starts the averaging of an `NTASGD`, once; chosen by ``--scheduler nt_asgd_trigger``.

    It fires after the first validation that is worse than the best of all but the last `nonmono`
    before it. ESPnet2's trainer calls `step` after each validation with the value of
    ``val_scheduler_criterion`` (valid loss by default). Source: algorithm 1 of arXiv 1708.02182,
    as the loop over epochs of the reference's main.py reads it.

    Args:
        optimizer: the optimiser that it starts.
        nonmono: n of the paper, at least 1.

    Raises:
        TopdownError: another optimiser, or `nonmono` below 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, nonmono: int = NONMONO) -> None:
        if not isinstance(optimizer, NTASGD):
            raise TopdownError(
                f"--scheduler nt_asgd_trigger needs --optim nt_asgd, got {type(optimizer).__name__}"
            )
        faults = check.faults({"nonmono": nonmono}, {"nonmono": check.whole(1)})
        check.refuse_options("scheduler_conf of nt_asgd_trigger", faults)
        self.optimizer = optimizer
        self.nonmono = nonmono
        self.losses: list[float] = []

    def step(self, val: float, epoch: int | None = None) -> None:
        """Take an epoch's validation loss; one that is not finite neither fires nor counts."""
        loss = float(val)
        if self.optimizer.averaging or not isfinite(loss):
            return
        if fires(self.losses, loss, self.nonmono):
            self.optimizer.start_averaging()
        self.losses.append(loss)

    def state_dict(self) -> dict[str, list[float]]:
        """The losses so far; whether it has fired is in the optimiser's own state."""
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Continue from the losses of `state_dict`."""
        self.losses = list(state["losses"])
