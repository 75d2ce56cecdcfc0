"""Frozen weights under AMP: cast to half precision once a step, as trainable ones are.

torch keeps the cast of a weight for the rest of a step only where the weight has a gradient
(aten/src/ATen/autocast_mode.cpp, `cached_cast`). A frozen one is cast anew at each use, at each
output step of a recurrent decoder say, and every copy is kept for the backward pass.
"""

from typing import Any

import torch
from torch import Tensor, nn

# Their forward hands weights to operations of low precision alone, which would make the same cast
# themselves. A norm or an embedding works in float32, and nn.LSTM is called once a step.
_CLASSES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


def cast_once(model: nn.Module) -> None:
    """Let the frozen weights of `model` be cast once in each of its forward passes under AMP.

    Results and gradients are bit-identical to those without; where no autocast is on, nothing
    changes. Parameters, their names and the state dict stay as they are.

    Args:
        model: some of whose parameters have ``requires_grad`` False.
    """
    casts = _Casts()
    for module in model.modules():
        # Not of subclasses: their forward may do more with a weight.
        if type(module) not in _CLASSES:
            continue
        module.register_forward_pre_hook(casts.put)
        module.register_forward_hook(casts.take_away, always_call=True)
    model.register_forward_hook(casts.forget, always_call=True)


class _Casts:
    """The casts of one step, and the hooks that put them before the weights of a module."""

    def __init__(self) -> None:
        self._of: dict[Tensor, Tensor] = {}

    def put(self, module: nn.Module, _: Any) -> None:
        """Shadow the module's frozen weights by their casts, as attributes of the instance."""
        # Empty in the copies that DataParallel makes: these cast as torch does.
        for name, weight in module._parameters.items():
            if weight is not None and _is_cast_anew(weight):
                vars(module)[name] = self._cast(weight)

    def _cast(self, weight: Tensor) -> Tensor:
        if weight not in self._of:
            self._of[weight] = weight.to(torch.get_autocast_dtype(weight.device.type))
        return self._of[weight]

    def take_away(self, module: nn.Module, *_: Any) -> None:
        """Undo `put`."""
        for name in module._parameters:
            vars(module).pop(name, None)

    def forget(self, *_: Any) -> None:
        """A step's forward pass is over: what backward needs of the casts, it holds itself."""
        self._of.clear()


def _is_cast_anew(weight: Tensor) -> bool:
    if weight.requires_grad or weight.dtype != torch.float32:
        return False
    return torch.is_autocast_enabled(weight.device.type)
