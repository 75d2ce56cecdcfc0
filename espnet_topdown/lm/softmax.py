"""The softmax layer and its cross entropy in one operation that holds few logits at a time.

The logits of a window (5,600 x 33,278 for the full recipe) are larger than any cache; most of a
small model's time on CPU goes into moving them. Rows are taken in chunks, and the gradients are
made while a chunk's logits are at hand.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits at a time: 2 MB of them stay in a core's cache. A GPU wants large kernels: 1 GB of logits
# and as much of their softmax, more than the window of the full recipe has.
CHUNK = {"cpu": 1 << 19, "cuda": 1 << 28}


class _MeanCrossEntropy(torch.autograd.Function):
    """Forward makes the mean loss and, where wanted, its gradients; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, with_gradients: bool
    ) -> Tensor:
        """Mean negative log likelihood; see `mean_cross_entropy`."""
        inputs = {"x": x, "weight": weight, "bias": bias}
        # needs_input_grad is true under no_grad too, where no gradient is wanted.
        wanted = zip(inputs, ctx.needs_input_grad) if with_gradients else ()
        grads = {name: torch.zeros_like(inputs[name]) for name, is_wanted in wanted if is_wanted}
        logits_at_a_time = CHUNK.get(x.device.type, CHUNK["cuda"])
        rows = max(1, logits_at_a_time // len(weight))
        total = x.new_zeros(())
        for start in range(0, len(x), rows):
            chunk = slice(start, start + rows)
            logits = F.linear(x[chunk], weight, bias)
            log_p = F.log_softmax(logits, dim=-1)
            index = targets[chunk].unsqueeze(1)
            total -= log_p.gather(1, index).sum()
            if grads:
                # Softmax minus one at the target, in log_p's own memory.
                minus_one = -torch.ones_like(index, dtype=x.dtype)
                delta = log_p.exp_().scatter_add_(1, index, minus_one)
                _add_gradients(grads, delta, x, weight, chunk)
        for grad in grads.values():
            grad.div_(len(x))
        ctx.save_for_backward(*map(grads.get, inputs))
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of `forward`, times the loss's own."""
        grads = [None if grad is None else grad * outer for grad in ctx.saved_tensors]
        return *grads, None, None


def _add_gradients(
    grads: Mapping[str, Tensor], delta: Tensor, x: Tensor, weight: Tensor, chunk: slice
) -> None:
    """Add a chunk's share; `delta` is the gradient of the summed loss by its logits."""
    if "x" in grads:
        torch.mm(delta, weight, out=grads["x"][chunk])
    if "weight" in grads:
        grads["weight"].addmm_(delta.t(), x[chunk])
    if "bias" in grads:
        grads["bias"].add_(delta.sum(0))


def mean_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of the negative log softmax of ``x @ weight.T + bias`` at `targets`.

    Equal to F.cross_entropy(F.linear(x, weight, bias), targets) but for rounding; frozen arguments
    cost no gradient. Second derivatives are not available.

    Args:
        x: (rows, dim).
        weight: (classes, dim).
        bias: (classes,).
        targets: class of each row, (rows,).

    Returns:
        The mean in nats, a scalar.
    """
    return _MeanCrossEntropy.apply(x, weight, bias, targets, torch.is_grad_enabled())
