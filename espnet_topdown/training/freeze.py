"""Keeping and freezing layers of a torch model.

Copy the parent's tensors, stop what could move them.

Frozen means: no gradient for the parameters (it flows through to the layers below); normalisation
with running statistics stays in eval mode through every `model.train()`; dropout acts as before
unless switched off; recurrent layers stay in train mode, because cuDNN cannot back-propagate
through one in eval mode. Which layers, and when, is decided by the caller.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layers import LayerOrder, acts_inside, layer_order
from espnet_topdown.training.checkpoint import State

# Dropout rates that a forward pass reads as a number, ESPnet class -> attribute: CTC (asr/ctc.py),
# RNNP and attention (nets/pytorch_backend), stochastic depth of the encoder layers, layer drop
# (transformer/repeat.py).
_RATES: Mapping[str, str] = {
    "CTC": "dropout_rate",
    "RNNP": "dropout",
    "LSTM": "dropout",
    "GRU": "dropout",
    "RNN": "dropout",
    "MultiHeadedAttention": "dropout_rate",
    "EncoderLayer": "stochastic_depth_rate",
    "BranchformerEncoderLayer": "stochastic_depth_rate",
    "MultiSequential": "layer_drop_rate",
    "EBranchformerEncoder": "layer_drop_rate",
}


@dataclass(frozen=True)
class Rate:
    """A dropout that acts: where its number stands and the layers that it serves (empty.

    It cannot be told).
    """

    name: str
    module: torch.nn.Module
    attribute: str
    layers: frozenset[str]

    @property
    def label(self) -> str:
        """``module.attribute``."""
        return f"{self.name}.{self.attribute}"


def model_parts(model: torch.nn.Module) -> dict[str, str]:
    """What an ESPnet model is made of, part -> class name, for `layer_order`.

    Parts outside the table (preencoder, postencoder, joint network) make tensors in no layer, which
    `layer_order` names.
    """
    if getattr(model, "lm", None) is not None:
        return {"lm": type(model.lm).__name__}
    found = {part: getattr(model, part, None) for part in ("frontend", "encoder", "decoder")}
    names = {part: type(module).__name__ for part, module in found.items() if module is not None}
    return (
        names
        if names.get("frontend") == "Embedding"
        else {k: v for k, v in names.items() if k != "frontend"}
    )


def order_of(
    model: torch.nn.Module, custom: Mapping[str, Sequence[str]] | None = None
) -> LayerOrder:
    """The layer order of a built ESPnet model.

    Args:
        model: an ESPnet model (ESPnetASRModel, ESPnetLanguageModel).
        custom: layer name -> name prefixes, lowest first, for models outside the table.

    Raises:
        TopdownError: as `layer_order`; also when the frontend has parameters.
    """
    encoder = getattr(model, "encoder", None)
    has_conditioning = getattr(encoder, "conditioning_layer", None) is not None
    conditioned = (
        min(encoder.interctc_layer_idx) if has_conditioning and encoder.interctc_layer_idx else None
    )
    order = layer_order(
        model_parts(model), model.state_dict(), custom=custom, conditioned=conditioned
    )
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    outside = [name for name in order.outside if name in parameters]
    if outside:
        raise TopdownError(
            f"{type(model.frontend).__name__} has parameters of its own ({outside[0]}, ...), which"
            " are in no layer; give the plan an order of your own: 'layers:'"
        )
    return order


def tied_groups(model: torch.nn.Module) -> list[tuple[str, ...]]:
    """Names of parameters that share one storage, a tuple for each storage with several names."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(parameter.untyped_storage().data_ptr(), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def read_parent(model: torch.nn.Module, state: State, source: str) -> State:
    """The parent's tensors under this model's names, after this ESPnet version's own upgrade of
    older checkpoints.

    The whole state is loaded strictly and the model's own tensors are put back, in place, so that
    optimisers built on the parameters stay valid.

    Args:
        model: freshly built model, unchanged when this returns.
        state: state dict of the parent.
        source: where it comes from, for the message.

    Raises:
        TopdownError: another architecture, or a parent whose tied weights differ from one another.
    """
    for group in tied_groups(model):
        values = [state[name] for name in group if name in state]
        if any(not torch.equal(values[0], value) for value in values[1:]):
            raise TopdownError(
                f"{source} has separate matrices for {' and '.join(group)}, which are one in this"
                " model"
            )
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        model.load_state_dict(dict(state), strict=True)
        return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    except RuntimeError as error:
        lines = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise TopdownError(
            f"{source} does not fit this model (another architecture?): {lines}"
        ) from None
    finally:
        model.load_state_dict(own, strict=True)


def check_outside(order: LayerOrder, model: torch.nn.Module, parent: State, source: str) -> None:
    """Feature extraction and normalisation must be the parent's, or the frozen layers would see
    other inputs.

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
    return [
        group
        for group in tied_groups(model)
        if 0 < sum(name in frozen for name in group) < len(group)
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
    """Freeze `layers`; `tensors` are their names and the far ends of their ties.

    Gradients: none for these parameters. Normalisation: running statistics fixed. Dropout:
        untouched (see `dropout_off`).

    Raises:
        TopdownError: a frozen layer has other state that a forward pass may move, or no parameter
            would be left to train.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    norms = {
        name: m
        for name, m in model.named_modules()
        if isinstance(m, _NormBase) and order.of_module(name) in layers
    }
    fixed = {
        f"{name}.{buffer}" for name, norm in norms.items() for buffer, _ in norm.named_buffers()
    }
    moving = [name for name in tensors if name not in parameters and name not in fixed]
    if moving:
        raise TopdownError(
            f"{', '.join(moving[:4])}: state of a frozen layer that a forward pass may move and"
            " that cannot be kept fixed; move the cut so that this layer is not frozen"
        )
    for norm in norms.values():
        norm.register_forward_pre_hook(_stay_in_eval)
    for name in tensors:
        if name in parameters:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise TopdownError("nothing is left to train: every parameter is frozen")


def _stay_in_eval(module: torch.nn.Module, _: Any) -> None:
    """Undo `model.train()`, which ESPnet's trainer calls at the start of every epoch."""
    module.eval()


def dropouts(model: torch.nn.Module, order: LayerOrder) -> Iterator[Rate]:
    """Every dropout of the model that acts, modules and numbers read by functional calls."""
    for name, module in model.named_modules():
        kinds = [kind.__name__ for kind in type(module).__mro__]
        attribute = (
            "p"
            if isinstance(module, _DropoutNd)
            else next((_RATES[k] for k in kinds if k in _RATES), None)
        )
        if attribute is None or not getattr(module, attribute, 0):
            continue
        if isinstance(module, torch.nn.RNNBase) and module.num_layers == 1:
            continue  # nn.LSTM's dropout acts between its layers
        yield Rate(name, module, attribute, _served(name, model, order))


def _served(name: str, model: torch.nn.Module, order: LayerOrder) -> frozenset[str]:
    """The layers that hold the module `name`, or that it holds."""
    place = order.of_module(name)
    inside = {
        order.of_module(tensor) for tensor in model.state_dict() if tensor.startswith(name + ".")
    }
    return frozenset(layer for layer in ({place} if place else inside) if layer)


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


def parameter_counts(model: torch.nn.Module, order: LayerOrder) -> dict[str, int]:
    """Parameters of each layer, lowest first.

    A tied matrix counts where its storage is named first, from the bottom.
    """
    seen: set[int] = set()
    counts = {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for layer in order.layers:
        own = [parameters[t] for t in layer.tensors if t in parameters]
        fresh = [p for p in own if p.untyped_storage().data_ptr() not in seen]
        counts[layer.name] = sum(p.numel() for p in fresh)
        seen.update(p.untyped_storage().data_ptr() for p in own)
    return counts


def layers_held_by_ties(model: torch.nn.Module, order: LayerOrder) -> dict[str, dict[str, int]]:
    """For each layer, the layers that it shares tensors with, and how many parameters it shares."""
    held: dict[str, dict[str, int]] = {layer.name: {} for layer in order.layers}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for group in tied_groups(model):
        places = {order.of_module(name) for name in group}
        for one, other in itertools.permutations(sorted(p for p in places if p), 2):
            held[one][other] = held[one].get(other, 0) + parameters[group[0]].numel()
    return held


def layer_notes(model: torch.nn.Module, order: LayerOrder) -> dict[str, str]:
    """What freezing a layer meets there: running statistics, dropout rates, recurrence, ties."""
    notes: dict[str, list[str]] = {layer.name: [] for layer in order.layers}
    for name, module in model.named_modules():
        place = order.of_module(name)
        if place and isinstance(module, _NormBase):
            notes[place].append(f"{type(module).__name__} (running statistics)")
        if place and isinstance(module, torch.nn.RNNBase | torch.nn.RNNCellBase):
            notes[place].append(type(module).__name__)
        if isinstance(module, torch.nn.RNNBase) and not place:
            for layer in _served(name, model, order):
                notes[layer].append(f"part of one nn.{type(module).__name__}")
    for rate in dropouts(model, order):
        value = getattr(rate.module, rate.attribute)
        for layer in rate.layers or notes:
            notes[layer].append(
                f"dropout {value:g}" + (" (shared)" if len(rate.layers) != 1 else "")
            )
    for group in tied_groups(model):
        for one, other in itertools.permutations(group, 2):
            if (place := order.of_module(one)) in notes:
                notes[place].append(f"{one} tied to {other}")
    return {layer: ", ".join(dict.fromkeys(found)) for layer, found in notes.items()}
