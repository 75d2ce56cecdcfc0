"""The layer order: which tensors of an ESPnet2 model form its layers, from the input to the output.

The name patterns of each ESPnet class stand in `espnet_topdown.plan.model_table`; here one function
matches them (`layer_order`). Models come in as class names and tensor names: neither torch nor
ESPnet is needed. What is done with a layer (freezing, drawing) is decided elsewhere.

Layers have the same names in every ESPnet version: ``encoder.embed`` (subsampling), ``encoder.0``
..., ``decoder.0`` ..., ``output``; for language models ``embed``, ``rnn.0`` or ``encoder.0`` ...,
``output``. A *stack* is all layers of one first name, such as ``decoder``.
"""

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from espnet_topdown import check
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.grouping import grouped
from espnet_topdown.plan.model_table import ABOVE, MODELS, OUTPUTS, Model, Row, find_model

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

    @property
    def tensors(self) -> dict[str, tuple[str, ...]]:
        """Layer -> names of its tensors, lowest first."""
        return {layer.name: layer.tensors for layer in self.layers}

    def holding(self, tensors: Collection[str]) -> list[str]:
        """Layers with at least one of `tensors`, lowest first."""
        return [name for name, own in self.tensors.items() if set(own).intersection(tensors)]

    def of_module(self, name: str) -> str | None:
        """The layer that holds the module or tensor `name`; None for one in none or in several."""
        layers = _layers_with(name, self.rows)
        if not layers and any(row.rest for row in self.rows):
            # What no pattern names is where its tensors are. A module without tensors is nowhere,
            # since it may act in many layers (Whisper's dropout, between all of them).
            every = itertools.chain.from_iterable(self.tensors.values())
            layers = {*self.holding(_matching(every, (name,)))}
        # A module without tensors may match a layer that this model does not have.
        is_one = len(layers) == 1 and layers.issubset(self.names)
        return layers.pop() if is_one else None


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
    rows = (*rows, *_tops_of_stacks(rows, names))
    members = grouped(tensors, lambda tensor: _layer_of(tensor, rows))
    outside = members.pop(None, [])
    lost = [tensor for tensor in outside if tensor.split(".")[0] not in _OUTSIDE]
    if lost:
        raise TopdownError(_lost_message(lost, parts))
    loaded: set[str] = set()
    constants: set[str] = set()
    for model in _known_models(parts):
        notes += filter(None, [model.note])
        loaded |= _matching(tensors, model.loaded)
        constants |= _matching(tensors, model.constants)
    return LayerOrder(
        layers=tuple(Layer(name, tuple(members.get(name, ()))) for name in names),
        outside=tuple(outside),
        rows=rows,
        notes=tuple(notes),
        loaded=frozenset(loaded),
        constants=frozenset(constants),
    )


def _known_models(parts: Mapping[str, str]) -> list[Model]:
    """The table's rows of a model's parts; of others the plan's own order says the layers."""
    models = [find_model(part, name) for part, name in parts.items()]
    return [model for model in models if model is not None]


def unknown_parts(parts: Mapping[str, str]) -> str | None:
    """The message about `parts` of a model that the table does not know; None without any."""
    lacking = [
        f"the {part} '{name}' (known: {', '.join(MODELS[part])})"
        for part, name in parts.items()
        if find_model(part, name) is None
    ]
    if not lacking:
        return None
    return f"no layer order is known for {' and '.join(lacking)}; {_OWN_ORDER}"


def _table_rows(parts: Mapping[str, str], tensors: Sequence[str]) -> tuple[Row, ...]:
    """Rows of the table's classes, lowest first, and those of the outputs beside the decoder's."""
    fault = unknown_parts(parts)
    if fault:
        raise TopdownError(fault)
    rows = [row for model in _known_models(parts) for row in model.rows]
    roots = {tensor.split(".")[0] for tensor in tensors}
    tops = [root for root in OUTPUTS if root in roots]
    # Speech translation with one decoder has the recogniser's as a second top, as CTC is.
    if "extra_asr_decoder" in roots and "md_encoder" not in parts:
        tops.append("extra_asr_decoder")
    is_ctc_alone = tops == ["ctc"] and "decoder" not in parts
    rows.append(Row("ctc" if is_ctc_alone else "output", tuple(tops)))
    return _joined(rows, tensors)


def _joined(rows: Sequence[Row], tensors: Sequence[str]) -> tuple[Row, ...]:
    """The same rows, with every `ABOVE` named after the lowest layer of the rows behind it."""
    named: list[Row] = []
    for row in reversed(rows):
        if row.layer == ABOVE:
            row = replace(row, layer=_layer_names(named, tensors)[0])
        named.insert(0, row)
    return tuple(named)


def _custom_rows(custom: Mapping[str, Sequence[str]], tensors: Sequence[str]) -> tuple[Row, ...]:
    rows = tuple(Row(layer, check.as_names(prefixes)) for layer, prefixes in custom.items())
    idle = []
    for row in rows:
        unmatched = [pattern for pattern in row.patterns if not _matching(tensors, (pattern,))]
        idle += [f"{row.layer}: {pattern}" for pattern in unmatched]
    if idle:
        raise TopdownError(
            f"patterns of the plan's 'layers' that match nothing in this model: {'; '.join(idle)}"
        )
    return rows


def _match(patterns: tuple[str, ...], name: str) -> re.Match[str] | None:
    """The one place that compares patterns with a name; the first one that fits counts."""
    return _regex(patterns).match(name)


@functools.cache
def _regex(patterns: tuple[str, ...]) -> re.Pattern[str]:
    text = "|".join(map(re.escape, patterns))
    text = text.replace(r"\{k\}", r"(\d+)").replace(r"\*", r"[^.]+?")
    # A match ends at a dot, so that layer 1 never swallows layer 10; torch names the backward half
    # of an nn.LSTM's layer weight_ih_l0_reverse.
    return re.compile(rf"(?:{text})(?:_reverse)?(?:\.|$)")


def _matching(tensors: Iterable[str], patterns: tuple[str, ...]) -> set[str]:
    """Those of `tensors` that one of `patterns` names; none without patterns."""
    return {tensor for tensor in tensors if _match(patterns, tensor)}


def _layers_with(name: str, rows: Iterable[Row]) -> set[str]:
    """The layers whose patterns match the module or tensor `name`."""
    layers = set()
    for row in rows:
        match = _match(row.patterns, name)
        if match:
            # The one group of the pattern that matched, of a stack: the number of the layer.
            layers.add(row.layer.format(k=match[match.lastindex or 0]))
    return layers


def _layer_of(tensor: str, rows: Sequence[Row]) -> str | None:
    """The layer of a tensor; None for one in no layer, or in several of a plan's own order."""
    layers = _layers_with(tensor, rows)
    if not layers:
        # What no pattern names of a part of the model.
        layers = {row.layer for row in rows if _match(row.rest, tensor)}
    return layers.pop() if len(layers) == 1 else None


def _layer_names(rows: Sequence[Row], tensors: Sequence[str]) -> tuple[str, ...]:
    """Layer names, lowest first: rows in their order, stacks in numerical order."""
    names: list[str] = []
    for row in rows:
        layers = set().union(*(_layers_with(tensor, (row,)) for tensor in tensors))
        if _matching(tensors, row.rest):
            layers.add(row.layer)
        # Several rows may feed one layer, which `fromkeys` keeps once: the decoder's output and CTC
        # are both `output`.
        names += sorted(layers, key=_number)
    return tuple(dict.fromkeys(names))


def _number(layer: str) -> int:
    """The place of a layer in its stack; 0 for a layer without a number."""
    number = layer.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _tops_of_stacks(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Rows that put what ends a stack, such as the norm after it, in its highest layer."""
    tops = []
    for row in rows:
        stack = row.layer.partition("{")[0]
        own = [name for name in names if name.startswith(stack)]
        if row.last and own:
            tops.append(Row(own[-1], row.last))
    return tops


def _lost_message(lost: Sequence[str], parts: Mapping[str, str]) -> str:
    modules = dict.fromkeys(".".join(name.split(".")[:2]) for name in lost)
    model = listed((f"{part} {name}" for part, name in parts.items()), "this model")
    return (
        f"{len(lost)} tensors are in no layer or in several ({model}): {', '.join(modules)}; first:"
        f" {lost[0]}. {_OWN_ORDER.capitalize()}"
    )
