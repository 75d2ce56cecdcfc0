"""Keeping and freezing layers: the parent's tensors are copied, and what could move them stopped.

Frozen means: no gradient for the parameters (it flows through to the layers below); normalisation
with running statistics stays in eval mode through every `model.train()`; dropout acts as before
unless switched off; recurrent layers stay in train mode, because cuDNN cannot back-propagate
through one in eval mode. Which layers, and when, is decided by the caller.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layer_names import acts_inside, moving_fault
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.training.casts import cast_once
from espnet_topdown.training.checkpoint import State
from espnet_topdown.training.model_layers import dropouts, moving_state, tied_groups

# Part -> its option for the steps in which ESPnet runs it without gradients
# (espnet2/asr/frontend/espnet_ssl.py and encoder/hubert_encoder.py, 202511).
_STARTS_LATE = (("frontend", "freeze_encoder_steps"), ("encoder", "freeze_encoder_updates"))


def read_parent(
    model: torch.nn.Module, state: State, source: str, *, without: Collection[str] = ()
) -> State:
    """The parent's tensors under this model's names, on the CPU.

    The whole state is loaded strictly, so that this ESPnet version's own upgrade of older
    checkpoints runs, and the model's own tensors are put back, in place, so that optimisers built
    on the parameters stay valid.

    Args:
        model: freshly built model, unchanged when this returns.
        state: state dict of the parent.
        source: where it comes from, for the message.
        without: names of tensors that are not the parent's, and that are left out.

    Raises:
        TopdownError: another architecture, or a parent whose tied weights differ from one another.
    """
    _check_ties(model, state, source)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # Such a tensor of the parent may be of another size; the model's own loads strictly.
    loaded = {**state, **{name: own[name] for name in without}}
    try:
        model.load_state_dict(loaded, strict=True)
        return {
            name: tensor.detach().cpu().clone()
            for name, tensor in model.state_dict().items()
            if name not in without
        }
    except RuntimeError as error:
        # Parts such as ``frontend.upstream`` of which the parent has no tensor.
        lacking = _modules(model.state_dict()) - _modules(state)
        raise TopdownError(f"{source} {_misfit(error, sorted(lacking))}") from None
    finally:
        model.load_state_dict(own, strict=True)


def _misfit(error: Exception, lacking: Sequence[str]) -> str:
    """Why a parent cannot be loaded, as torch's `error` has it; parts that it lacks are told."""
    if lacking:
        return (
            f"has no tensors of {', '.join(lacking)}; give a model file of the whole model (a"
            " training with 'save_strategy: all' writes such), or this architecture"
        )
    # The first line only names the class.
    lines = str(error).splitlines()[1:4]
    reason = "; ".join(map(str.strip, lines))
    return f"does not fit this model (another architecture?): {reason}"


def _modules(names: Iterable[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in names}


def _check_ties(model: torch.nn.Module, state: State, source: str) -> None:
    """Refuse a parent with several matrices for one of `model`; loading would keep the last."""
    for group in tied_groups(model):
        values = [state[name] for name in group if name in state]
        if not all(torch.equal(values[0], value) for value in values[1:]):
            raise TopdownError(
                f"{source} has separate matrices for {' and '.join(group)}, which are one in this"
                " model"
            )


def check_outside(order: LayerOrder, model: torch.nn.Module, parent: State, source: str) -> None:
    """Check that features and their statistics are the parent's, as its kept layers need.

    Raises:
        TopdownError: a buffer differs (a changed stats file, say).
    """
    own = model.state_dict()
    for name in order.outside:
        # An averaged model's constant buffers are rounded (see `checkpoint.average`): 1e-7 of the
        # value in float32.
        if not torch.allclose(own[name].cpu(), parent[name], rtol=1e-6, atol=0.0):
            raise TopdownError(
                f"{name} differs from {source}'s: the features or their statistics changed"
                " (feats_stats.npz?); a phase needs its parent's"
            )


def crossing_ties(model: torch.nn.Module, frozen: Collection[str]) -> list[tuple[str, ...]]:
    """Groups of tied names with some in `frozen` and some not."""
    known = set(frozen)
    return [
        group for group in tied_groups(model) if 0 < len(known.intersection(group)) < len(group)
    ]


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
