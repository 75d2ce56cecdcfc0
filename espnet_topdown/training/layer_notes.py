"""What freezing a layer of a built model meets there, in words."""

import itertools
from collections.abc import Iterable, Iterator

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
    met = itertools.chain(
        _recurrence_and_norms(model, order),
        _fixed_state(model, order),
        _dropout_rates(model, order),
        _ties(model, order),
    )
    # What several modules of a layer have in common is said once.
    notes: dict[str, dict[str, None]] = {name: {} for name in order.names}
    for layers, note in met:
        for layer in layers:
            notes[layer][note] = None
    return {layer: ", ".join(own) for layer, own in notes.items()}


# Names of layers, and what is to be known of each.
_Notes = Iterator[tuple[Iterable[str], str]]


def _recurrence_and_norms(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for name, module in model.named_modules():
        kind = type(module).__name__
        place = order.of_module(name)
        match module:
            case _NormBase() if place:
                yield [place], f"{kind} (running statistics)"
            case torch.nn.RNNBase() | torch.nn.RNNCellBase():
                note = kind if place else f"part of one nn.{kind}"
                yield layers_served(name, model, order), note


def _fixed_state(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    yield (
        loaded_layers(order, order.names),
        "loaded from its pre-trained checkpoint, never drawn",
    )
    for layer, moving in moving_state(model, order).items():
        for name in moving:
            yield [layer], f"{name} moves and cannot be frozen"


def _dropout_rates(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for rate in dropouts(model, order):
        shared = "" if len(rate.layers) == 1 else " (shared)"
        number = getattr(rate.module, rate.attribute)
        yield rate.layers or order.names, f"dropout {number:g}{shared}"


def _ties(model: torch.nn.Module, order: LayerOrder) -> _Notes:
    for group in tied_groups(model):
        for one, other in itertools.permutations(group, 2):
            yield layers_served(one, model, order), f"{one} tied to {other}"
