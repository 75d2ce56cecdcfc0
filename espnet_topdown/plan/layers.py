"""The layer order: which tensors of an ESPnet2 model form its layers, from the input to the output.

The name patterns of each ESPnet class stand in `espnet_topdown.plan.model_table`; here one function
matches them (`layer_order`). Models come in as class names and tensor names: neither torch nor
ESPnet is needed. What is done with a layer (freezing, drawing) is decided elsewhere.

Layers have the same names in every ESPnet version: ``encoder.embed`` (subsampling), ``encoder.0``
..., ``decoder.0`` ..., ``output``; for language models ``embed``, ``rnn.0`` or ``encoder.0`` ...,
``output``. A *stack* is all layers of one first name, such as ``decoder``.
"""

import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from espnet_topdown.errors import TopdownError, listed, nearest
from espnet_topdown.plan.model_table import ABOVE, MODELS, OUTPUTS, Row, find_model

# Of no layer: they hold no parameters, and their buffers (mel matrix, feature statistics) must
# equal the parent's.
_OUTSIDE = ("frontend", "specaug", "normalize")
_OWN_ORDER = (
    "give the plan an order of your own: 'layers:', a mapping from layer name to name prefixes,"
    " lowest first"
)


@dataclass(frozen=True)
class Layer:
    """One layer.

    Args:
        name: such as ``encoder.0``.
        tensors: names of its parameters and persistent buffers, aliases of tied ones included.
    """

    name: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class LayerOrder:
    """Layers of one model, from the input to the output.

    Args:
        layers: lowest layer first; every tensor name is in exactly one layer or in `outside`.
        outside: buffers of frontend and normalisation, which belong to no layer.
        rows: the table rows that made this order.
        notes: what a reader of the plan should know (conditioning layers, for instance).
        loaded: names of the tensors that start from a pre-trained checkpoint whenever the model is
            built, so that they are never drawn.
        constants: names of the buffers in layers that no forward pass changes.
    """

    layers: tuple[Layer, ...]
    outside: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    loaded: frozenset[str] = frozenset()
    constants: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names, lowest first."""
        return tuple(layer.name for layer in self.layers)

    def index(self, cut: str) -> int:
        """Position of the lowest layer of the upper part; see `cut_index`."""
        return cut_index(self.names, cut)

    def of_module(self, name: str) -> str | None:
        """The layer that holds the module or tensor `name`; None for one in none or in several."""
        place = _place(name, self.rows, self.names)
        if place is not None or not any(row.rest for row in self.rows):
            return place
        # What no pattern names is where its tensors are. A module without tensors is nowhere, since
        # it may act in many layers (Whisper's dropout, between all of them).
        holders = [layer.name for layer in self.layers if _holds(layer, name)]
        return holders[0] if len(holders) == 1 else None


def _holds(layer: Layer, module: str) -> bool:
    return any(_match(module, tensor) for tensor in layer.tensors)


def cut_index(names: Sequence[str], cut: str) -> int:
    """Position of the layer `cut`, or of the lowest layer of the stack `cut`.

    Args:
        names: layer names, lowest first.
        cut: a layer's name or a stack's (``decoder``).

    Raises:
        TopdownError: nothing has that name; the message lists the valid ones.
    """
    for position, name in enumerate(names):
        if _is_called(name, cut):
            return position
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
    # As a list, since a mapping's values would be its counts.
    twice = [word for word, count in Counter([*asked]).items() if count > 1]
    if twice:
        raise TopdownError(f"{', '.join(twice)} stands more than once in {key}; name it once")
    found: set[str] = set()
    unknown = []
    for word in asked:
        called = [name for name in names if _is_called(name, word)]
        if not called:
            unknown.append(word)
        found.update(called)
    if unknown:
        quoted = ", ".join(f"'{word}'" for word in unknown)
        raise TopdownError(f"unknown layer {quoted} in {key}: {nearest(unknown[0], _valid(names))}")
    return tuple(name for name in names if name in found)


def _is_called(layer: str, asked: str) -> bool:
    """Whether `asked` is the layer's name or that of its stack."""
    return f"{layer}.".startswith(f"{asked}.")


def _valid(names: Sequence[str]) -> list[str]:
    """What a layer can be asked for by: names from the output to the input, then stacks."""
    stacks = dict.fromkeys(name.split(".")[0] for name in names if "." in name)
    return [*reversed(names), *stacks]


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
    inside = [layer in frozen for layer in served]
    is_shared = any(inside) != all(inside)
    if is_shared or not served:
        layers = listed(sorted(served), "layers below and above the cut")
        raise TopdownError(
            f"dropout: off is not possible with this cut: the one number {dropout} serves {layers},"
            " frozen and fresh together; use dropout: keep, or another cut"
        )
    return all(inside)


def layer_span(names: Sequence[str]) -> str:
    """Layer names for a sentence: of a stack the first and the last, others by name."""
    stacks: dict[str, list[str]] = {}
    for name in names:
        stacks.setdefault(name.split(".")[0], []).append(name)
    spans = []
    for own in stacks.values():
        spans += own if len(own) < 3 else [f"{own[0]} to {own[-1]}"]
    return ", ".join(spans)


def moving_fault(moving: Sequence[str]) -> str:
    """The message about state of frozen layers that a forward pass may move."""
    return (
        f"{', '.join(moving[:4])}: state of a frozen layer that a forward pass may move and that"
        " cannot be kept fixed; move the cut so that this layer is not frozen"
    )


def layer_order(
    parts: Mapping[str, str],
    tensors: Iterable[str],
    *,
    custom: Mapping[str, Sequence[str]] | None = None,
    conditioned: int | None = None,
) -> LayerOrder:
    """The layers of a model from its parts and tensor names.

    Args:
        parts: what the model is made of, in the order of the data: keys of `MODELS` -> ESPnet
            class or choice name.
        tensors: names in the model's state dict, aliases of tied weights included.
        custom: an order of the user's own, layer name -> name prefixes, lowest layer first;
            replaces the table.
        conditioned: index of the lowest encoder layer fed by interctc's conditioning layer, where
            there is one.

    Raises:
        TopdownError: a class outside the table, a tensor in no layer or in two, a pattern that
            matches nothing.
    """
    tensors = list(tensors)
    # The user's own order says all: no class of the model need be known then.
    rows = _custom_rows(custom, tensors) if custom else _table_rows(parts, tensors)
    notes = []
    if conditioned is not None and not custom:
        rows = (*rows, Row(f"encoder.{conditioned}", ("encoder.conditioning_layer",)))
        notes.append(
            f"interctc's conditioning layer is part of encoder.{conditioned}, the lowest layer that"
            " it feeds"
        )
    names = _layer_names(rows, tensors)
    members: dict[str, list[str]] = {name: [] for name in names}
    outside: list[str] = []
    lost: list[str] = []
    for tensor in tensors:
        place = _place(tensor, rows, names) or _rest_of(tensor, rows)
        if place is not None:
            members[place].append(tensor)
        elif tensor.split(".")[0] in _OUTSIDE:
            outside.append(tensor)
        else:
            lost.append(tensor)
    if lost:
        raise TopdownError(_lost_message(lost, parts))
    loaded: set[str] = set()
    constants: set[str] = set()
    for part, name in parts.items():
        model = find_model(part, name)
        if model is None:
            continue  # the plan's own order says what its layers are
        notes += filter(None, [model.note])
        loaded |= _matching(tensors, model.loaded)
        constants |= _matching(tensors, model.constants)
    return LayerOrder(
        layers=tuple(Layer(name, tuple(own)) for name, own in members.items()),
        outside=tuple(outside),
        rows=rows,
        notes=tuple(notes),
        loaded=frozenset(loaded),
        constants=frozenset(constants),
    )


def _matching(tensors: Sequence[str], patterns: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        found.update(tensor for tensor in tensors if _match(pattern, tensor))
    return found


def unknown_parts(parts: Mapping[str, str]) -> str | None:
    """The message about `parts` of a model that the table does not know; None without any."""
    lacking = []
    for part, name in parts.items():
        if find_model(part, name) is None:
            lacking.append(f"the {part} '{name}' (known: {', '.join(MODELS[part])})")
    if not lacking:
        return None
    return f"no layer order is known for {' and '.join(lacking)}; {_OWN_ORDER}"


def _table_rows(parts: Mapping[str, str], tensors: Sequence[str]) -> tuple[Row, ...]:
    """Rows of the table's classes, lowest first, and those of the outputs beside the decoder's."""
    fault = unknown_parts(parts)
    if fault:
        raise TopdownError(fault)
    rows: list[Row] = []
    for part, name in parts.items():
        model = find_model(part, name)
        assert model is not None
        # The states of the recogniser's decoder are what the second encoder reads.
        if part == "md_encoder":
            rows.append(Row("asr_decoder", ("extra_asr_decoder",)))
        rows += model.rows
    roots = {tensor.split(".")[0] for tensor in tensors}
    tops = [root for root in OUTPUTS if root in roots]
    # Speech translation with one decoder has the recogniser's as a second top, as CTC is.
    if "extra_asr_decoder" in roots and "md_encoder" not in parts:
        tops.append("extra_asr_decoder")
    if tops == ["ctc"] and "decoder" not in parts:
        rows.append(Row("ctc", ("ctc",)))
    elif tops:
        rows.append(Row("output", tuple(tops)))
    return _joined(rows, tensors)


def _joined(rows: Sequence[Row], tensors: Sequence[str]) -> tuple[Row, ...]:
    """The same rows, with every `ABOVE` named after the lowest layer of the rows behind it."""
    named = []
    for place, row in enumerate(rows):
        if row.layer == ABOVE:
            above = [other for other in rows[place:] if other.layer != ABOVE]
            row = replace(row, layer=_layer_names(above, tensors)[0])
        named.append(row)
    return tuple(named)


def _custom_rows(custom: Mapping[str, Sequence[str]], tensors: Sequence[str]) -> tuple[Row, ...]:
    rows = []
    idle = []
    for layer, prefixes in custom.items():
        patterns = [prefixes] if isinstance(prefixes, str) else prefixes
        rows.append(Row(layer, tuple(patterns)))
        for pattern in patterns:
            if not _matching(tensors, [pattern]):
                idle.append(f"{layer}: {pattern}")
    if idle:
        raise TopdownError(
            f"patterns of the plan's 'layers' that match nothing in this model: {'; '.join(idle)}"
        )
    return tuple(rows)


def _match(pattern: str, name: str) -> re.Match[str] | None:
    """The one place that compares a pattern with a name."""
    return _regex(pattern).match(name)


@functools.cache
def _regex(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\{k\}", r"(?P<k>\d+)").replace(r"\*", r"[^.]+?")
    # A match ends at a dot, so that layer 1 never swallows layer 10; torch names the backward half
    # of an nn.LSTM's layer weight_ih_l0_reverse.
    return re.compile(text + r"(?:_reverse)?(?:\.|$)")


def _layer_in(row: Row, name: str) -> str | None:
    """The layer in which the patterns of `row` put `name`."""
    for pattern in row.patterns:
        match = _match(pattern, name)
        if match:
            return row.layer.format(k=match.groupdict().get("k", ""))
    return None


def _layer_names(rows: Sequence[Row], tensors: Sequence[str]) -> tuple[str, ...]:
    """Layer names, lowest first: rows in their order, stacks in numerical order."""
    names: list[str] = []
    for row in rows:
        layers = {_layer_in(row, tensor) for tensor in tensors}
        if row.rest and _matching(tensors, [row.rest]):
            layers.add(row.layer)
        # Several rows may feed one layer, which `fromkeys` keeps once: the decoder's output and CTC
        # are both `output`.
        names += sorted(filter(None, layers), key=_number)
    return tuple(dict.fromkeys(names))


def _number(layer: str) -> int:
    """The place of a layer in its stack; 0 for a layer without a number."""
    number = layer.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _place(name: str, rows: Sequence[Row], names: Sequence[str]) -> str | None:
    """The layer, of `names`, in which exactly one layer's rows put `name`."""
    places = set()
    for row in rows:
        layer = _layer_in(row, name)
        if layer is None and any(_match(prefix, name) for prefix in row.last):
            layer = _highest(row, names)
        if layer is not None:
            places.add(layer)
    # A module above several layers, or a name that an order of the plan's own puts in two.
    if len(places) != 1:
        return None
    (place,) = places
    # A module without tensors may match a layer that this model does not have.
    return place if place in names else None


def _rest_of(tensor: str, rows: Sequence[Row]) -> str | None:
    """The layer that takes what no pattern names, of the part of the model that holds `tensor`."""
    for row in rows:
        if row.rest and _match(row.rest, tensor):
            return row.layer
    return None


def _highest(row: Row, names: Sequence[str]) -> str | None:
    """The highest layer of the stack that `row` makes."""
    stack = row.layer.partition("{")[0]
    return next((name for name in reversed(names) if name.startswith(stack)), None)


def _lost_message(lost: Sequence[str], parts: Mapping[str, str]) -> str:
    modules = dict.fromkeys(".".join(name.split(".")[:2]) for name in lost)
    model = listed((f"{part} {name}" for part, name in parts.items()), "this model")
    return (
        f"{len(lost)} tensors are in no layer or in several ({model}): {', '.join(modules)}; first:"
        f" {lost[0]}. {_OWN_ORDER.capitalize()}"
    )
