"""The layer order.

Which tensors of an ESPnet2 model form its layers, counted from the input to the output.

One table gives the name patterns of each ESPnet class (`_ENCODERS`, `_DECODERS`, `_LMS`) and one
function matches them (`layer_order`). Nothing here needs torch or ESPnet: models come in as class
names and tensor names. What is done with a layer (freezing, drawing) is decided elsewhere.

Layers have the same names in every ESPnet version: ``encoder.embed`` (subsampling block),
``encoder.0`` ..., ``decoder.0`` ..., ``output``; for language models ``embed``, ``rnn.0`` or
``encoder.0`` ..., ``output``.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from espnet_topdown.errors import TopdownError, nearest

# A row with this name joins the highest layer named before it: a norm after a stack belongs to the
# layer below
BELOW = "^"


@dataclass(frozen=True)
class Row:
    """Patterns of one layer or of one stack of layers.

    Args:
        layer: name of the layer; ``{k}`` makes a stack; `BELOW` joins the layer below.
        parts: name prefixes, whole components only; ``{k}`` stands for the layer's index, ``*`` for
            part of a component.
    """

    layer: str
    parts: tuple[str, ...]


def _row(layer: str, *parts: str) -> Row:
    return Row(layer, parts)


# A projection (bt, l_last) belongs to the LSTM below it; layers of one fused nn.LSTM are told apart
# by parameter name.
def _rnn_rows(enc: str) -> tuple[Row, ...]:
    stack = [f"{enc}.{part}" for part in ("birnn{k}", "rnn{k}", "bt{k}", "nbrnn.*_l{k}")]
    return (_row("encoder.{k}", *stack), _row(BELOW, f"{enc}.l_last"))


_STACK = (
    _row("encoder.embed", "encoder.embed", "encoder.pos_enc"),
    _row("encoder.{k}", "encoder.encoders.{k}"),
    _row(BELOW, "encoder.after_norm"),
)
_ENCODERS: Mapping[str, tuple[str, tuple[Row, ...]]] = {
    "transformer": ("TransformerEncoder", _STACK),
    "conformer": ("ConformerEncoder", _STACK),
    "branchformer": ("BranchformerEncoder", _STACK),
    "e_branchformer": ("EBranchformerEncoder", _STACK),
    "contextual_block_transformer": ("ContextualBlockTransformerEncoder", _STACK),
    "contextual_block_conformer": ("ContextualBlockConformerEncoder", _STACK),
    "rnn": ("RNNEncoder", _rnn_rows("encoder.enc.0")),
    "vgg_rnn": (
        "VGGRNNEncoder",
        (_row("encoder.embed", "encoder.enc.0"), *_rnn_rows("encoder.enc.1")),
    ),
}
_DECODERS: Mapping[str, tuple[str, tuple[Row, ...]]] = {
    "transformer": (
        "TransformerDecoder",
        (
            _row("decoder.0", "decoder.embed"),
            _row("decoder.{k}", "decoder.decoders.{k}"),
            _row(BELOW, "decoder.after_norm"),
            _row("output", "decoder.output_layer"),
        ),
    ),
    "rnn": (
        "RNNDecoder",
        (
            _row("decoder.0", "decoder.embed", "decoder.dropout_emb", "decoder.att_list"),
            _row("decoder.{k}", "decoder.decoder.{k}", "decoder.dropout_dec.{k}"),
            _row("output", "decoder.output"),
        ),
    ),
}
_LMS: Mapping[str, tuple[str, tuple[Row, ...]]] = {
    "seq_rnn": (
        "SequentialRNNLM",
        (
            _row("embed", "lm.encoder"),
            _row("rnn.{k}", "lm.rnn.*_l{k}"),
            _row("output", "lm.decoder"),
        ),
    ),
    "awd_lstm": (
        "AWDLSTM",
        (_row("embed", "lm.encoder"), _row("rnn.{k}", "lm.rnns.{k}"), _row("output", "lm.decoder")),
    ),
    "transformer": (
        "TransformerLM",
        (
            _row("embed", "lm.embed", "lm.encoder.embed"),
            _row("encoder.{k}", "lm.encoder.encoders.{k}"),
            _row(BELOW, "lm.encoder.after_norm"),
            _row("output", "lm.decoder"),
        ),
    ),
}
# Machine translation reads token ids: its frontend is an embedding below the encoder.
_FRONTENDS: Mapping[str, tuple[str, tuple[Row, ...]]] = {
    "embed": ("Embedding", (_row("frontend", "frontend"),))
}
_TABLES = {"frontend": _FRONTENDS, "encoder": _ENCODERS, "decoder": _DECODERS, "lm": _LMS}
# Of no layer: they hold no parameters, and their buffers (mel matrix, feature statistics) must
# equal the parent's.
_OUTSIDE = ("frontend", "specaug", "normalize")


@dataclass(frozen=True)
class Layer:
    """One layer.

    Its name and the names of its tensors (parameters and persistent buffers, every alias).
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
    """

    layers: tuple[Layer, ...]
    outside: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names, lowest first."""
        return tuple(layer.name for layer in self.layers)

    def index(self, cut: str) -> int:
        """Position of the lowest layer of the upper part.

        `cut` is a layer's or a block's name (``decoder``).

        Raises:
            TopdownError: nothing has that name; the message lists the valid ones.
        """
        return cut_index(self.names, cut)

    def of_module(self, name: str) -> str | None:
        """Name of the layer that holds the module (or tensor) `name`, None when it is in no layer
        or spans several.
        """
        return _place(name, self.rows, self.names)


def cut_index(names: Sequence[str], cut: str) -> int:
    """Position of `cut` in `names` (lowest layer first).

    The name of a block stands for its lowest layer.
    """
    for position, name in enumerate(names):
        if name == cut or name.startswith(cut + "."):
            return position
    blocks = list(dict.fromkeys(name.split(".")[0] for name in names if "." in name))
    hint = ""
    if cut == "decoder" and "ctc" in names:
        hint = "this is a CTC-only model, whose top layer is 'ctc'; "
    raise TopdownError(f"unknown cut '{cut}': {hint}{nearest(cut, [*reversed(names), *blocks])}")


def acts_inside(dropout: str, served: Collection[str], frozen: Collection[str]) -> bool:
    """Whether the number `dropout`, which serves the layers `served` (empty.

    It cannot be told), acts in `frozen` alone.

    Raises:
        TopdownError: it serves frozen and fresh layers together, so that it cannot be switched off
            in the frozen ones.
    """
    inside = [layer in frozen for layer in served]
    if any(inside) != all(inside) or not inside:
        layers = ", ".join(sorted(served)) or "layers below and above the cut"
        raise TopdownError(
            f"dropout: off is not possible with this cut: the one number {dropout} serves {layers},"
            " frozen and fresh together; use dropout: keep, or another cut"
        )
    return all(inside)


def layer_order(
    parts: Mapping[str, str],
    tensors: Iterable[str],
    *,
    custom: Mapping[str, Sequence[str]] | None = None,
    conditioned: int | None = None,
) -> LayerOrder:
    """The layers of a model from its parts and tensor names.

    Args:
        parts: what the model is made of, lowest first: ``frontend`` (an embedding), ``encoder``,
            ``decoder`` or ``lm`` -> ESPnet class or choice name.
        tensors: names in the model's state dict, aliases of tied weights included.
        custom: an order of the user's own, layer name -> name prefixes, lowest layer first;
            replaces the table.
        conditioned: index of the lowest encoder block fed by interctc's conditioning layer, where
            there is one.

    Raises:
        TopdownError: a class outside the table, a tensor in no layer or in two, a pattern that
            matches nothing.
    """
    tensors = list(tensors)
    rows = _custom_rows(custom, tensors) if custom else _table_rows(parts, tensors)
    notes = []
    if conditioned is not None and not custom:
        rows = (*rows, _row(f"encoder.{conditioned}", "encoder.conditioning_layer"))
        notes.append(
            f"interctc's conditioning layer is part of encoder.{conditioned}, the lowest layer that"
            " it feeds"
        )
    names = _layer_names(rows, tensors)
    members: dict[str, list[str]] = {name: [] for name in names}
    outside, lost = [], []
    for tensor in tensors:
        place = _place(tensor, rows, names)
        if place is not None:
            members[place].append(tensor)
        else:
            (outside if tensor.split(".")[0] in _OUTSIDE else lost).append(tensor)
    if lost:
        raise TopdownError(_lost_message(lost, parts))
    layers = tuple(Layer(name, tuple(found)) for name, found in members.items())
    return LayerOrder(layers, tuple(outside), rows, tuple(notes))


def _table_rows(parts: Mapping[str, str], tensors: Sequence[str]) -> tuple[Row, ...]:
    """Rows for known classes, lowest first.

    The top is `ctc` where there is no decoder, else `output` with ctc in it.
    """
    rows: tuple[Row, ...] = ()
    for part, given in parts.items():
        table = _TABLES[part]
        found = [r for choice, (name, r) in table.items() if given in (choice, name)]
        if not found:
            raise TopdownError(
                f"no layer order is known for the {part} '{given}' (known: {', '.join(table)});"
                " give the plan an order of your own: 'layers:', a mapping from layer name to name"
                " prefixes, lowest first"
            )
        rows += found[0]
    if "encoder" in parts and any(t.startswith("ctc.") for t in tensors):
        rows += (_row("output" if "decoder" in parts else "ctc", "ctc"),)
    if any(
        t.startswith("extra_asr_decoder.") for t in tensors
    ):  # speech translation's second top, beside CTC
        rows += (_row("output", "extra_asr_decoder"),)
    return rows


def _custom_rows(custom: Mapping[str, Sequence[str]], tensors: Sequence[str]) -> tuple[Row, ...]:
    rows = tuple(
        _row(name, *([parts] if isinstance(parts, str) else parts))
        for name, parts in custom.items()
    )
    idle = [
        f"{row.layer}: {part}"
        for row in rows
        for part in row.parts
        if not any(_match(part, t) for t in tensors)
    ]
    if idle:
        raise TopdownError(
            f"patterns of the plan's 'layers' that match nothing in this model: {'; '.join(idle)}"
        )
    return rows


def _match(pattern: str, name: str) -> re.Match[str] | None:
    """The one place that compares a pattern with a name.

    It ends at a dot, so that layer 1 never swallows layer 10.
    """
    regex = re.escape(pattern).replace(r"\{k\}", r"(?P<k>\d+)").replace(r"\*", r"[^.]+?")
    return re.match(regex + r"(?:_reverse)?(?:\.|$)", name)


def _hits(name: str, rows: Sequence[Row]) -> list[str]:
    """Names of layers (`BELOW` included) whose patterns match `name`."""
    found = []
    for row in rows:
        for part in row.parts:
            if match := _match(part, name):
                found.append(row.layer.format(k=match.groupdict().get("k", "")))
    return list(dict.fromkeys(found))


def _layer_names(rows: Sequence[Row], tensors: Sequence[str]) -> tuple[str, ...]:
    """Layer names, lowest first: rows in their order, stacks in numerical order."""
    names: list[str] = []
    for row in rows:
        if row.layer == BELOW:
            continue
        found = {hit for t in tensors for hit in _hits(t, [row])}
        if "{k}" in row.layer:
            found = sorted(found, key=lambda name: int(name.rsplit(".", 1)[1]))
        names += [name for name in found if name not in names]
    return tuple(names)


def _place(name: str, rows: Sequence[Row], names: Sequence[str]) -> str | None:
    hits = _hits(name, rows)
    if len(hits) != 1:
        return None
    if hits[0] != BELOW:
        return hits[0] if hits[0] in names else None
    owner = next(
        position for position, row in enumerate(rows) if row.layer == BELOW and _hits(name, [row])
    )
    stack = rows[owner - 1].layer.split("{")[0]
    return next(n for n in reversed(names) if n.startswith(stack))


def _lost_message(lost: Sequence[str], parts: Mapping[str, str]) -> str:
    blocks = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in lost))
    model = ", ".join(f"{part} {name}" for part, name in parts.items())
    return (
        f"{len(lost)} tensors are in no layer or in several ({model or 'this model'}): {blocks};"
        f" first: {lost[0]}. Give the plan an order of your own: 'layers:', a mapping from layer"
        " name to name prefixes, lowest first"
    )
