"""Keeping and freezing layers: the parent's tensors are copied, and what could move them stopped.

Frozen means: no gradient for the parameters (it flows through to the layers below); normalisation
with running statistics stays in eval mode through every `model.train()`; dropout acts as before
unless switched off; recurrent layers stay in train mode, because cuDNN cannot back-propagate
through one in eval mode. Which layers, and when, is decided by the caller.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layer_names import acts_inside, moving_fault
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.training.casts import cast_once
from espnet_topdown.training.checkpoint import State
from espnet_topdown.training.model_layers import dropouts, moving_state

# Part -> its option for the steps in which ESPnet runs it without gradients
# (espnet2/asr/frontend/espnet_ssl.py and encoder/hubert_encoder.py, 202511).
_STARTS_LATE = (("frontend", "freeze_encoder_steps"), ("encoder", "freeze_encoder_updates"))


def copy_tensors(model: torch.nn.Module, source: State, names: Collection[str]) -> None:
    """Set the named tensors of `model` to those in `source`, in place and exactly."""
    own = model.state_dict()
    with torch.no_grad():
        for name in names:
            own[name].copy_(source[name])


def freeze(
    model: torch.nn.Module, order: LayerOrder, layers: Collection[str], tensors: Collection[str]
) -> None:
    """Freeze layers, in place.

    Gradients: none for the parameters; they flow through to the layers below. Normalisation:
    running statistics fixed. Dropout: untouched (see `dropout_off`). Under AMP, frozen weights are
    cast once a step.

    Args:
        model: an ESPnet model.
        order: its layers.
        layers: names of the layers to freeze.
        tensors: names of their tensors, and of the far ends of their ties.

    Raises:
        TopdownError: a frozen layer has other state that a forward pass may move, or no parameter
            would be left to train, or none in the first step.
    """
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and order.of_module(name) in layers:
            module.register_forward_pre_hook(_stay_in_eval)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in parameters.keys() & set(tensors):
        parameters[name].requires_grad_(False)
    state = moving_state(model, order)
    moving = [name for layer in layers for name in state[layer]]
    if moving:
        raise TopdownError(moving_fault(moving))
    learning = {name.split(".")[0] for name, own in parameters.items() if own.requires_grad}
    if not learning:
        raise TopdownError("nothing is left to train: every parameter is frozen")
    _check_first_step(model, learning)
    cast_once(model)


def _check_first_step(model: torch.nn.Module, learning: Collection[str]) -> None:
    """Refuse a model of which nothing but a part learns that ESPnet itself trains later."""
    for part, option in _STARTS_LATE:
        module = getattr(model, part, None)
        steps = getattr(module, option, 0)
        # The weights that add several layers up learn from the first step.
        adds_layers = getattr(module, "multilayer_feature", False)
        if steps and set(learning) == {part} and not adds_layers:
            raise TopdownError(
                f"the first step would train nothing: ESPnet leaves the {part} as it is for"
                f" {steps} steps ({part}_conf: {option}), and all else is frozen; let kept layers"
                " learn ('kept_lr'), or cut where a layer above it is fresh"
            )


def _stay_in_eval(module: torch.nn.Module, _: Any) -> None:
    """Undo `model.train()`, which ESPnet's trainer calls at the start of every epoch."""
    module.eval()


def dropout_off(model: torch.nn.Module, order: LayerOrder, layers: Collection[str]) -> list[str]:
    """Switch off every dropout that acts in `layers`.

    Returns:
        names of what was switched off, ``module.attribute``.

    Raises:
        TopdownError: one number serves frozen and fresh layers together.
    """
    switched = []
    for rate in dropouts(model, order):
        if acts_inside(rate.label, rate.layers, layers):
            setattr(rate.module, rate.attribute, 0.0)
            switched.append(rate.label)
    return switched
