"""Layers by their names: what a cut or a list of names asks for, and how names are told.

A *stack* is all layers of one first name, such as ``decoder``. Neither torch nor ESPnet is needed.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from espnet_topdown.errors import TopdownError, listed, nearest
from espnet_topdown.grouping import grouped


def cut_index(names: Sequence[str], cut: str) -> int:
    """Position of the layer `cut`, or of the lowest layer of the stack `cut`.

    Args:
        names: layer names, lowest first.
        cut: a layer's name or a stack's (``decoder``).

    Raises:
        TopdownError: nothing has that name; the message lists the valid ones.
    """
    own = _called(names, cut)
    if own:
        return names.index(own[0])
    hint = nearest(cut, _valid(names))
    if cut == "decoder" and "ctc" in names:
        # Nothing is meant that is spelled like it, such as encoder.
        valid = ", ".join(_valid(names))
        hint = f"this is a CTC-only model, whose top layer is 'ctc' (valid: {valid})"
    raise TopdownError(f"unknown cut '{cut}': {hint}")


def layers_named(names: Sequence[str], asked: Collection[str], key: str) -> tuple[str, ...]:
    """The layers called one of `asked`, by their own names or their stacks', lowest first.

    Args:
        names: layer names, lowest first.
        asked: names of layers or of stacks (``encoder``).
        key: of the plan, for the message.

    Raises:
        TopdownError: one stands twice, or nothing has it; the message lists the valid ones.
    """
    called = frozenset().union(*layers_called(names, asked, key).values())
    return tuple(name for name in names if name in called)


def layers_called(
    names: Sequence[str], asked: Collection[str], key: str
) -> dict[str, frozenset[str]]:
    """Each word of `asked` -> the layers that it names; else as `layers_named`."""
    # As a list, since a mapping's values would be its counts.
    twice = [word for word, count in Counter([*asked]).items() if count > 1]
    if twice:
        raise TopdownError(f"{', '.join(twice)} stands more than once in {key}; name it once")
    called = {word: frozenset(_called(names, word)) for word in asked}
    unknown = [word for word, layers in called.items() if not layers]
    if unknown:
        quoted = ", ".join(f"'{word}'" for word in unknown)
        raise TopdownError(f"unknown layer {quoted} in {key}: {nearest(unknown[0], _valid(names))}")
    return called


def _called(names: Sequence[str], asked: str) -> list[str]:
    """The layer whose name is `asked`, or those of the stack that is."""
    # With the dot behind both, layer 1 does not take layer 10 along.
    return [name for name in names if f"{name}.".startswith(f"{asked}.")]


def _valid(names: Sequence[str]) -> list[str]:
    """What a layer can be asked for by: names from the output to the input, then stacks."""
    stacks = dict.fromkeys(map(_stack, names))
    # What is alone in its stack, such as output, is named once.
    return list(dict.fromkeys([*reversed(names), *stacks]))


def _stack(name: str) -> str:
    """The first name of a layer: ``decoder`` of ``decoder.0``."""
    return name.partition(".")[0]


def acts_inside(dropout: str, served: Collection[str], frozen: Collection[str]) -> bool:
    """Whether a dropout acts in frozen layers alone (True) or in fresh layers alone (False).

    Args:
        dropout: name of its number, for the message.
        served: layers in which it acts; empty where that cannot be told.
        frozen: the frozen layers.

    Raises:
        TopdownError: it serves frozen and fresh layers together, so that it cannot be switched off
            in the frozen ones.
    """
    inside = {layer in frozen for layer in served}
    if len(inside) != 1:
        layers = listed(sorted(served), "layers below and above the cut")
        raise TopdownError(
            f"dropout: off is not possible with this cut: the one number {dropout} serves {layers},"
            " frozen and fresh together; use dropout: keep, or another cut"
        )
    return inside.pop()


def layer_span(names: Sequence[str]) -> str:
    """Layer names for a sentence: of a stack the first and the last, others by name."""
    spans = []
    for own in grouped(names, _stack).values():
        spans += own if len(own) < 3 else [f"{own[0]} to {own[-1]}"]
    return ", ".join(spans)


def moving_fault(moving: Sequence[str]) -> str:
    """The message about state of frozen layers that a forward pass may move."""
    return (
        f"{', '.join(moving[:4])}: state of a frozen layer that a forward pass may move and that"
        " cannot be kept fixed; move the cut so that this layer is not frozen"
    )
