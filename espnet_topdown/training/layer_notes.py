"""What freezing a layer of a built model meets there, in words."""

import itertools
from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _NormBase

from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.training.model_layers import (
    dropouts,
    layers_served,
    loaded_layers,
    moving_state,
    tied_groups,
)


def layer_notes(model: torch.nn.Module, order: LayerOrder) -> dict[str, str]:
    """What freezing a layer meets there: running statistics, dropout rates, recurrence, ties."""
    # What several modules of a layer have in common is said once.
    notes: dict[str, dict[str, None]] = {name: {} for name in order.names}
    for notes_of in (_recurrence_and_norms, _fixed_state, _dropout_rates, _ties):
        for layer, note in notes_of(model, order):
            notes[layer][note] = None
    return {layer: ", ".join(own) for layer, own in notes.items()}


# A layer's name, and what is to be known of it.
_Notes = Iterator[tuple[str, str]]


def _recurrence_and_norms(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for name, module in model.named_modules():
        kind = type(module).__name__
        place = order.of_module(name)
        if isinstance(module, _NormBase) and place:
            yield place, f"{kind} (running statistics)"
        elif isinstance(module, torch.nn.RNNBase | torch.nn.RNNCellBase):
            note = kind if place else f"part of one nn.{kind}"
            for layer in layers_served(name, model, order):
                yield layer, note


def _fixed_state(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for held in loaded_layers(order, order.names):
        yield held, "loaded from its pre-trained checkpoint, never drawn"
    for layer, moving in moving_state(model, order).items():
        for name in moving:
            yield layer, f"{name} moves and cannot be frozen"


def _dropout_rates(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for rate in dropouts(model, order):
        note = f"dropout {getattr(rate.module, rate.attribute):g}"
        if len(rate.layers) != 1:
            note += " (shared)"
        for layer in rate.layers or order.names:
            yield layer, note


def _ties(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for group in tied_groups(model):
        for one, other in itertools.permutations(group, 2):
            for layer in layers_served(one, model, order):
                yield layer, f"{one} tied to {other}"
