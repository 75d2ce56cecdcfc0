"""The softmax layer and its cross entropy in one operation that never holds all logits.

The logits of a window (5,600 x 33,278 for the full recipe) are larger than any cache; most of a
small model's time on CPU goes into moving them. Rows are taken in chunks, and the gradients are
made while a chunk's logits are at hand.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = {
    "cpu": 1 << 19,
    "cuda": 1 << 28,
}  # logits at a time: 2 MB stay in a core's cache; a GPU wants large kernels


class _MeanCrossEntropy(torch.autograd.Function):
    """Forward makes the mean loss and, where wanted, its gradients; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, training: bool
    ) -> Tensor:
        """Mean negative log likelihood; see `mean_cross_entropy`.

        `training` is false under no_grad, which hides it.
        """
        wanted = [training and need for need in ctx.needs_input_grad[:3]]
        grads = [
            torch.zeros_like(t) if want else None
            for t, want in zip((x, weight, bias), wanted, strict=True)
        ]
        rows = max(1, CHUNK.get(x.device.type, 1 << 28) // len(weight))
        total = x.new_zeros(())
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            log_p = F.log_softmax(F.linear(x[part], weight, bias), dim=-1)
            index = targets[part].unsqueeze(1)
            total -= log_p.gather(1, index).sum()
            if any(wanted):
                delta = log_p.exp_().scatter_add_(1, index, -torch.ones_like(index, dtype=x.dtype))
                _add_gradients(grads, delta, x, weight, part)
        ctx.save_for_backward(*(g.div_(len(x)) if g is not None else None for g in grads))
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of `forward`, times the loss's own."""
        return *(g * outer if g is not None else None for g in ctx.saved_tensors), None, None


def _add_gradients(
    grads: list[Tensor | None], delta: Tensor, x: Tensor, weight: Tensor, part: slice
) -> None:
    """Adds a chunk's share; `delta` is the gradient of the summed loss by its logits."""
    if grads[0] is not None:
        torch.mm(delta, weight, out=grads[0][part])
    if grads[1] is not None:
        grads[1].addmm_(delta.t(), x[part])
    if grads[2] is not None:
        grads[2].add_(delta.sum(0))


def mean_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of the negative log softmax of ``x @ weight.T + bias`` at `targets`.

    Equal to F.cross_entropy(F.linear(x, weight, bias), targets) but for rounding; frozen arguments
    cost no gradient.

    Args:
        x: (rows, dim).
        weight: (classes, dim).
        bias: (classes,).
        targets: class of each row, (rows,).
    """
    return _MeanCrossEntropy.apply(x, weight, bias, targets, torch.is_grad_enabled())
