"""What is known of ESPnet's model classes, as data: their layers, dropout rates and ties.

A new class is one more row of `MODELS`. Patterns are matched in `espnet_topdown.plan.layers`, rates
switched off in `espnet_topdown.training.freeze`, ties undone in `espnet_topdown.plan.ties`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """Name patterns of one layer, or of one stack of layers.

    Args:
        layer: name of the layer; ``{k}`` makes a stack.
        patterns: name prefixes, whole components only; ``{k}`` stands for the layer's index, ``*``
            for part of a component.
        last: prefix of what belongs to the highest layer of the stack, such as the norm after it.
    """

    layer: str
    patterns: tuple[str, ...]
    last: str | None = None


@dataclass(frozen=True)
class Tie:
    """An option of ESPnet that makes one matrix of two tensors.

    Args:
        option: key of the class's ``_conf``; true ties them.
        lower: tensor nearer the input.
        upper: tensor nearer the output.
    """

    option: str
    lower: str
    upper: str


@dataclass(frozen=True)
class Model:
    """One row of `MODELS`.

    Args:
        name: ESPnet's class.
        rows: its layers, lowest first.
        rates: dropouts that a forward pass reads as a number, class (this one, or one of its own
            layers) -> attribute; those of classes that several models are built of: `SHARED_RATES`.
        tie: the weights that it can tie.
    """

    name: str
    rows: tuple[Row, ...]
    rates: Mapping[str, str] = field(default_factory=dict)
    tie: Tie | None = None


def row(layer: str, *patterns: str, last: str | None = None) -> Row:
    """A `Row`, written on one line."""
    return Row(layer, patterns, last)


def _rnn_stack(enc: str) -> Row:
    # bt and l_last are the projections after an LSTM; nbrnn is one fused nn.LSTM, whose layers are
    # told apart by parameter name
    parts = ("birnn{k}", "rnn{k}", "bt{k}", "nbrnn.*_l{k}")
    return row("encoder.{k}", *(f"{enc}.{part}" for part in parts), last=f"{enc}.l_last")


_ENCODER = (
    row("encoder.embed", "encoder.embed", "encoder.pos_enc"),
    row("encoder.{k}", "encoder.encoders.{k}", last="encoder.after_norm"),
)
_DEPTH = {"BranchformerEncoderLayer": "stochastic_depth_rate"}
_DROP = {"EBranchformerEncoder": "layer_drop_rate"}
_LM_TIE = Tie("tie_weights", lower="lm.encoder.weight", upper="lm.decoder.weight")
# espnet2/mt/espnet_model.py
MT_TIE = Tie(
    "share_decoder_input_output_embed",
    lower="decoder.embed.0.weight",
    upper="decoder.output_layer.weight",
)

# Part of an ESPnet model, lowest first -> ESPnet's choice of it (--encoder, --lm) -> class.
MODELS: Mapping[str, Mapping[str, Model]] = {
    "frontend": {
        # Machine translation reads token ids: its frontend is an embedding below the encoder.
        "embed": Model("Embedding", (row("frontend", "frontend"),)),
    },
    "encoder": {
        "transformer": Model("TransformerEncoder", _ENCODER),
        "conformer": Model("ConformerEncoder", _ENCODER),
        "branchformer": Model("BranchformerEncoder", _ENCODER, rates=_DEPTH),
        "e_branchformer": Model("EBranchformerEncoder", _ENCODER, rates=_DROP),
        "contextual_block_transformer": Model("ContextualBlockTransformerEncoder", _ENCODER),
        "contextual_block_conformer": Model("ContextualBlockConformerEncoder", _ENCODER),
        "rnn": Model("RNNEncoder", (_rnn_stack("encoder.enc.0"),)),
        "vgg_rnn": Model(
            "VGGRNNEncoder",
            (row("encoder.embed", "encoder.enc.0"), _rnn_stack("encoder.enc.1")),
        ),
    },
    "decoder": {
        "transformer": Model(
            "TransformerDecoder",
            (
                row("decoder.0", "decoder.embed"),
                row("decoder.{k}", "decoder.decoders.{k}", last="decoder.after_norm"),
                row("output", "decoder.output_layer"),
            ),
        ),
        "rnn": Model(
            "RNNDecoder",
            (
                row("decoder.0", "decoder.embed", "decoder.dropout_emb", "decoder.att_list"),
                row("decoder.{k}", "decoder.decoder.{k}", "decoder.dropout_dec.{k}"),
                row("output", "decoder.output"),
            ),
        ),
    },
    "lm": {
        "seq_rnn": Model(
            "SequentialRNNLM",
            (
                row("embed", "lm.encoder"),
                row("rnn.{k}", "lm.rnn.*_l{k}"),
                row("output", "lm.decoder"),
            ),
            tie=_LM_TIE,
        ),
        "awd_lstm": Model(
            "AWDLSTM",
            (
                row("embed", "lm.encoder"),
                row("rnn.{k}", "lm.rnns.{k}"),
                row("output", "lm.decoder"),
            ),
            tie=_LM_TIE,
        ),
        "transformer": Model(
            "TransformerLM",
            (
                row("embed", "lm.embed", "lm.encoder.embed"),
                row("encoder.{k}", "lm.encoder.encoders.{k}", last="lm.encoder.after_norm"),
                row("output", "lm.decoder"),
            ),
        ),
    },
}

# As `Model.rates`, of the classes that several models are built of.
SHARED_RATES: Mapping[str, str] = {
    # espnet2/asr/ctc.py
    "CTC": "dropout_rate",
    # torch's own, and espnet/nets/pytorch_backend/rnn/encoders.py
    "LSTM": "dropout",
    "GRU": "dropout",
    "RNN": "dropout",
    "RNNP": "dropout",
    # espnet/nets/pytorch_backend/transformer/{attention,encoder_layer,repeat}.py
    "MultiHeadedAttention": "dropout_rate",
    "EncoderLayer": "stochastic_depth_rate",
    "MultiSequential": "layer_drop_rate",
}


def find_model(part: str, name: str) -> Model | None:
    """The row of the class or choice `name` of a model's `part`, None for one outside the table."""
    for choice, model in MODELS[part].items():
        if name in (choice, model.name):
            return model
    return None


def dropout_rates() -> dict[str, str]:
    """Class name -> attribute of every dropout that a forward pass reads as a number."""
    rates = dict(SHARED_RATES)
    for choices in MODELS.values():
        for model in choices.values():
            rates |= model.rates
    return rates
