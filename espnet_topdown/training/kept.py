"""Which tensors of a built model a phase keeps, freezes and slows down, its ties counted.

Layers come from the plan's words (`espnet_topdown.plan.sides`); a tensor that is one in memory with
another goes with it. Nothing is changed here.
"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.plan.sides import Sides
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training.model_layers import tied_groups


@dataclass(frozen=True)
class Kept:
    """What becomes of a model's layers and tensors in a phase.

    Args:
        sides: kept, fresh, frozen and slow layers, ties counted.
        tensors: names of the tensors that are copied from the parent.
        frozen: names of those that are not updated.
        factors: tensor -> factor on its learning rate, of those between 0 and 1.
    """

    sides: Sides
    tensors: tuple[str, ...]
    frozen: tuple[str, ...]
    factors: Mapping[str, float]


def kept_of(model: torch.nn.Module, order: LayerOrder, conf: TopdownConf) -> Kept:
    """What a phase keeps of a model.

    Raises:
        TopdownError: an unknown cut or layer, nothing to keep or to train, or weights tied across
            the cut, or between layers of different factors, without a word on what to do.
    """
    sides = conf.sides(order.names)
    tensors = _kept_tensors(model, order, sides.kept, conf.tied)
    factors = _factors(model, order, sides, tensors)
    return Kept(
        sides=_with_ties(sides, order, factors),
        tensors=tensors,
        frozen=tuple(name for name in tensors if factors[name] == 0),
        factors={name: factor for name, factor in factors.items() if 0 < factor < 1},
    )


def _kept_tensors(
    model: torch.nn.Module, order: LayerOrder, layers: Collection[str], tied: str | None
) -> tuple[str, ...]:
    """Names of the tensors copied from the parent: those of `layers` and the far ends of ties."""
    kept = [name for layer in layers for name in order.tensors[layer]]
    crossing = crossing_ties(model, kept)
    # Language models are tied by default: their matrix goes with the kept end without asking.
    policy = tied or ("freeze" if hasattr(model, "lm") else None)
    if crossing and policy != "freeze":
        names = "; ".join(map(" = ".join, crossing))
        if tied is not None:
            raise TopdownError(
                f"'tied: {tied}' leaves weights tied across the cut, by no option that a phase"
                f" switches off: {names}; give 'tied: freeze' (both ends are kept)"
            )
        raise TopdownError(
            f"weights are tied across the cut: {names}. Say what to do: 'tied: freeze' (both ends),"
            " or for a model that ESPnet ties by an option 'tied: untie_draw' or 'tied:"
            " untie_copy'"
        )
    return tuple(dict.fromkeys([*kept, *itertools.chain(*crossing)]))


def crossing_ties(model: torch.nn.Module, frozen: Collection[str]) -> list[tuple[str, ...]]:
    """Groups of tied names with some in `frozen` and some not."""
    known = set(frozen)
    return [
        group for group in tied_groups(model) if 0 < len(known.intersection(group)) < len(group)
    ]


def _factors(
    model: torch.nn.Module, order: LayerOrder, sides: Sides, tensors: Collection[str]
) -> dict[str, float]:
    """The factor of each kept tensor; the far end of a tie has the kept end's.

    Raises:
        TopdownError: one matrix is in kept layers of different factors.
    """
    factors: dict[str, float] = {}
    for layer, factor in sides.factors.items():
        factors |= dict.fromkeys(order.tensors[layer], factor)
    for group in tied_groups(model):
        own = {name: factors[name] for name in group if name in factors}
        if len({*own.values()}) > 1:
            told = ", ".join(f"{name} {factor:g}" for name, factor in own.items())
            raise TopdownError(
                f"one matrix cannot learn at different rates: {told} are tied; give their layers"
                " the same kept_lr, or 'tied: untie_copy' where ESPnet ties them by an option"
            )
        # All that are kept have one factor, which the far ends get too.
        both_ends = set(group).intersection(tensors)
        factors |= dict.fromkeys(both_ends, max(own.values(), default=0.0))
    return factors


def _with_ties(sides: Sides, order: LayerOrder, factors: Mapping[str, float]) -> Sides:
    """A layer whose tensors are all tied to kept ones is kept with them, and learns as they do."""
    held = {
        layer: max(factors[name] for name in order.tensors[layer])
        for layer in sides.fresh
        if factors.keys() >= {*order.tensors[layer]}
    }
    tied = Sides.of(order.names, {**sides.factors, **held})
    if held and not tied.fresh:
        raise TopdownError(
            "nothing is left to train: the fresh layers are tied to frozen ones; cut higher, or"
            " untie"
        )
    return tied
