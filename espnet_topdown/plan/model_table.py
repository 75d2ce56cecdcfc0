"""What is known of ESPnet's model classes, as data: their layers, ties and what is never trained.

A new class is one more row of `MODELS`. Patterns are matched in `espnet_topdown.plan.layers`, ties
undone in `espnet_topdown.plan.ties`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from operator import attrgetter
from typing import Any

from espnet_topdown.check import as_names


@dataclass(frozen=True)
class Row:
    """Name patterns of one layer, or of one stack of layers.

    Args:
        layer: name of the layer; ``{k}`` makes a stack, `ABOVE` joins the lowest layer of the rows
            that follow.
        patterns: name prefixes, whole components only; ``{k}`` stands for the layer's index, ``*``
            for part of a component.
        last: prefixes of what belongs to the highest layer of the stack, such as the norm after it.
        rest: prefixes of the tensors that belong here when no other row has them.
    """

    layer: str
    patterns: tuple[str, ...]
    last: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


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
class Untrained:
    """Parameters that a forward pass of ESPnet's leaves without a gradient.

    Args:
        kind: class of the module that has them.
        below: their prefix in it.
        unless: attribute of the module and the value with which it trains them; None: it never
            does.
        first: attribute of the module with the lowest of the numbers below the prefix that are
            meant; where it is None, none are.
    """

    kind: str
    below: str
    unless: tuple[str, bool] | None = None
    first: str | None = None

    def prefixes(self, module: Any) -> list[str]:
        """Prefixes, with their last dot, of those that a built module leaves so."""
        if type(module).__name__ != self.kind:
            return []
        if self.unless and getattr(module, self.unless[0], None) == self.unless[1]:
            return []
        if self.first is None:
            return [f"{self.below}."]
        first = getattr(module, self.first)
        stack = attrgetter(self.below)(module)
        numbers = range(len(stack) if first is None else first, len(stack))
        return [f"{self.below}.{number}." for number in numbers]


@dataclass(frozen=True)
class Model:
    """One row of `MODELS`.

    Args:
        name: ESPnet's class.
        rows: its layers, lowest first.
        tie: the weights that it can tie.
        loaded: prefixes of what starts from a pre-trained checkpoint whenever it is built: such
            tensors are never drawn.
        loads_by: the part's option by which it is told to load them, where it can start at random
            instead.
        loads_again_by: the part's option by which it loads them again after an ``init`` that has
            drawn the whole model.
        constants: prefixes of buffers that no forward pass changes, so that a frozen layer may hold
            them.
        note: what a reader of a plan for such a model should know.
    """

    name: str
    rows: tuple[Row, ...]
    tie: Tie | None = None
    loaded: tuple[str, ...] = ()
    loads_by: str | None = None
    loads_again_by: str | None = None
    constants: tuple[str, ...] = ()
    note: str | None = None


# A row with this name joins the lowest layer of the rows after it.
ABOVE = "^"


def row(
    layer: str, *patterns: str, last: str | Sequence[str] = (), rest: str | Sequence[str] = ()
) -> Row:
    """A `Row`, written on one line."""
    return Row(layer, patterns, as_names(last), as_names(rest))


def _rnn_stack(enc: str) -> Row:
    # bt and l_last are the projections after an LSTM; nbrnn is one fused nn.LSTM, whose layers are
    # told apart by parameter name
    parts = ("birnn{k}", "rnn{k}", "bt{k}", "nbrnn.*_l{k}")
    return row("encoder.{k}", *(f"{enc}.{part}" for part in parts), last=f"{enc}.l_last")


def _stack(name: str, module: str) -> tuple[Row, Row]:
    """A stack that ESPnet builds as it builds encoders: input, layers, norm."""
    layers = row(f"{name}.{{k}}", f"{module}.encoders.{{k}}", last=f"{module}.after_norm")
    return row(ABOVE, f"{module}.embed", f"{module}.pos_enc"), layers


_FRONTEND = (row("frontend", "frontend"),)
_ENCODER = (
    row("encoder.embed", "encoder.embed", "encoder.pos_enc"),
    row("encoder.{k}", "encoder.encoders.{k}", last="encoder.after_norm"),
)
_DECODER = (
    row("decoder.0", "decoder.embed"),
    row("decoder.{k}", "decoder.decoders.{k}", last="decoder.after_norm"),
    row("output", "decoder.output_layer"),
)
# The names that Hugging Face's models give to their stacks: BERT, BART, T5 and GPT-2.
_STACKS_OF_HF = ("layers.{k}", "layer.{k}", "block.{k}", "h.{k}")
_NORMS_OF_HF = ("layer_norm", "final_layer_norm", "norm", "ln_f")
_DELIBERATION = "deliberationencoder"
_HUBERT = "encoder.hubert_pretrain_model.wav2vec2.encoder.transformer"
_LM_TIE = Tie("tie_weights", lower="lm.encoder.weight", upper="lm.decoder.weight")
# espnet2/mt/espnet_model.py
MT_TIE = Tie(
    "share_decoder_input_output_embed",
    lower="decoder.embed.0.weight",
    upper="decoder.output_layer.weight",
)

_ENCODERS = {
    "transformer": Model(
        # Of this name is also the encoder for several speakers (transformer_multispkr), with a
        # stack for each of them below that for all.
        "TransformerEncoder",
        (_ENCODER[0], row("encoder_sd.{k}", "encoder.encoders_sd.*.{k}"), _ENCODER[1]),
    ),
    "conformer": Model("ConformerEncoder", _ENCODER),
    "branchformer": Model("BranchformerEncoder", _ENCODER),
    "e_branchformer": Model("EBranchformerEncoder", _ENCODER),
    "multiconv_conformer": Model("MultiConvConformerEncoder", _ENCODER),
    "contextual_block_transformer": Model("ContextualBlockTransformerEncoder", _ENCODER),
    "contextual_block_conformer": Model("ContextualBlockConformerEncoder", _ENCODER),
    "rnn": Model("RNNEncoder", (_rnn_stack("encoder.enc.0"),)),
    "vgg_rnn": Model(
        "VGGRNNEncoder",
        (row("encoder.embed", "encoder.enc.0"), _rnn_stack("encoder.enc.1")),
    ),
    "whisper": Model(
        "OpenAIWhisperEncoder",
        (
            row("encoder.embed", rest="encoder"),
            row("encoder.{k}", "encoder.encoders.blocks.{k}", last="encoder.encoders.ln_post"),
        ),
        loaded=("encoder.encoders",),
        constants=("encoder.encoders.positional_embedding",),
    ),
    "beats": Model(
        "BeatsEncoder",
        (
            row("encoder.embed", rest="encoder"),
            row(
                "encoder.{k}",
                "encoder.encoder.layers.{k}",
                last=(
                    *("encoder.layer_weights", "encoder.downsample_conv"),
                    *("encoder.conformer_adapter", "encoder.cross_embed_positions"),
                ),
            ),
        ),
        # What else there is, no checkpoint has.
        loaded=(
            *("encoder.patch_embedding", "encoder.layer_norm", "encoder.post_extract_proj"),
            "encoder.encoder",
        ),
        loads_by="beats_ckpt_path",
    ),
    "torchaudiohubert": Model(
        "TorchAudioHuBERTPretrainEncoder",
        (
            row("encoder.embed", rest="encoder"),
            row("encoder.{k}", f"{_HUBERT}.layers.{{k}}", last=f"{_HUBERT}.layer_norm"),
        ),
    ),
}
# Those that ESPnet takes as a second encoder too (espnet2/tasks/st.py).
_AGAIN = (
    *("transformer", "conformer", "branchformer", "e_branchformer", "rnn", "vgg_rnn"),
    *("contextual_block_transformer", "contextual_block_conformer"),
)


def _again(part: str, *below: Row) -> dict[str, Model]:
    """The encoders as a second one, whose input layer, if any, joins its lowest layer.

    Args:
        part: of the model, in the place of ``encoder``.
        below: rows of what it reads.
    """
    models = {}
    for choice in _AGAIN:
        model = _ENCODERS[choice]
        rows = map(_renamed, model.rows, repeat(part))
        models[choice] = replace(model, rows=(*below, *rows))
    return models


def _renamed(row: Row, part: str) -> Row:
    """An encoder's row as that of `part`."""

    def named(name: str) -> str:
        return re.sub(r"^encoder(?=[._])", part, name)

    layer = ABOVE if row.layer == "encoder.embed" else named(row.layer)
    patterns = tuple(map(named, row.patterns))
    return replace(row, layer=layer, patterns=patterns, last=tuple(map(named, row.last)))


def _hugging_face(layer: str, part: str) -> Model:
    """A stack of Hugging Face's above an encoder."""
    stacks = (f"{part}.transformer.{stack}" for stack in _STACKS_OF_HF)
    norms = tuple(f"{part}.transformer.{norm}" for norm in _NORMS_OF_HF)
    return Model(
        "HuggingFaceTransformersPostEncoder",
        (row(f"{layer}.embed", rest=part), row(f"{layer}.{{k}}", *stacks, last=norms)),
        loaded=(f"{part}.transformer",),
    )


# Part of an ESPnet model, in the order of the data -> ESPnet's choice of it (--encoder, --lm) ->
# class.
MODELS: Mapping[str, Mapping[str, Model]] = {
    "frontend": {
        # Machine translation reads token ids: its frontend is an embedding below the encoder.
        "embed": Model("Embedding", _FRONTEND),
        "patch": Model("PatchEmbedding", _FRONTEND),
        # Windows, filters and positions are all that S3PRL's upstreams have as buffers, beside
        # running statistics; of Hugging Face's models likewise.
        "s3prl": Model(
            "S3prlFrontend",
            _FRONTEND,
            loaded=("frontend.upstream",),
            constants=("frontend.upstream",),
        ),
        "espnet_ssl": Model("ESPnetSSLFrontend", _FRONTEND, loaded=("frontend.upstream",)),
        "huggingface": Model(
            "HuggingFaceFrontend",
            _FRONTEND,
            loaded=("frontend.encoder",),
            loads_by="load_pretrained",
            constants=("frontend.encoder",),
        ),
        "whisper": Model(
            "WhisperFrontend",
            _FRONTEND,
            loaded=("frontend.whisper",),
            constants=("frontend.whisper.encoder.positional_embedding",),
        ),
        "wav2vec_cnn": Model("CNNFrontend", _FRONTEND),
        # Several frontends side by side; that of mel features has a constant matrix.
        "fused": Model(
            "FusedFrontends",
            _FRONTEND,
            loaded=("frontend.frontends.{k}.upstream",),
            constants=("frontend.frontends.{k}.logmel.melmat", "frontend.frontends.{k}.upstream"),
        ),
    },
    "preencoder": {
        "linear": Model("LinearProjection", (row(ABOVE, "preencoder"),)),
        "sinc": Model("LightweightSincConvs", (row(ABOVE, "preencoder"),)),
    },
    "encoder": _ENCODERS,
    # Of speech translation: a second encoder above the one that CTC reads.
    "hier_encoder": _again("hier_encoder"),
    "postencoder": {
        "length_adaptor": Model("LengthAdaptorPostEncoder", (row("postencoder", "postencoder"),)),
        "hugging_face_transformers": _hugging_face("postencoder", "postencoder"),
        "transformer": Model("TransformerPostEncoder", _stack("postencoder", "postencoder")),
        "conformer": Model("ConformerPostEncoder", _stack("postencoder", "postencoder")),
    },
    # Of spoken language understanding: a language model of the first pass's transcript, which the
    # deliberation encoder reads beside the encoder.
    "postdecoder": {
        "hugging_face_transformers": Model(
            "HuggingFaceTransformersPostDecoder",
            (row("postdecoder", "postdecoder", "uniform_linear"),),
            loaded=("postdecoder.model",),
        ),
    },
    "deliberationencoder": {
        "transformer": Model("TransformerPostEncoder", _stack("deliberation", _DELIBERATION)),
        "conformer": Model("ConformerPostEncoder", _stack("deliberation", _DELIBERATION)),
        "hugging_face_transformers": _hugging_face("deliberation", _DELIBERATION),
    },
    # Of speech translation with several decoders: it reads the states of the recogniser's decoder.
    "md_encoder": _again("md_encoder", row("asr_decoder", "extra_asr_decoder")),
    "decoder": {
        "transformer": Model("TransformerDecoder", _DECODER),
        "transformer_md": Model(
            "TransformerMDDecoder",
            _DECODER,
            note=(
                "ESPnet's st_inference decodes this model where its config.yaml says"
                " 'extra_asr_decoder: transformer' without use_speech_attn, and trains it (202511,"
                " 202611) with 'transformer_md' there; the tensors are the same"
            ),
        ),
        "mlm": Model("MLMDecoder", _DECODER),
        "lightweight_conv": Model("LightweightConvolutionTransformerDecoder", _DECODER),
        "lightweight_conv2d": Model("LightweightConvolution2DTransformerDecoder", _DECODER),
        "dynamic_conv": Model("DynamicConvolutionTransformerDecoder", _DECODER),
        "dynamic_conv2d": Model("DynamicConvolution2DTransformerDecoder", _DECODER),
        "rnn": Model(
            "RNNDecoder",
            (
                row("decoder.0", "decoder.embed", "decoder.dropout_emb", "decoder.att_list"),
                row("decoder.{k}", "decoder.decoder.{k}", "decoder.dropout_dec.{k}"),
                row("output", "decoder.output"),
            ),
        ),
        "transducer": Model(
            "TransducerDecoder",
            (
                row("decoder.0", "decoder.embed", "decoder.dropout_embed"),
                row("decoder.{k}", "decoder.decoder.{k}", "decoder.dropout_dec.{k}"),
            ),
        ),
        "linear_decoder": Model("LinearDecoder", (row("output", "decoder"),)),
        "whisper": Model(
            "OpenAIWhisperDecoder",
            (
                row("decoder.0", rest="decoder"),
                row("decoder.{k}", "decoder.decoders.blocks.{k}", last="decoder.decoders.ln"),
                row("output", "decoder.decoders.token_embedding"),
            ),
            loaded=("decoder.decoders",),
            note=(
                "Whisper's token embedding is read twice, as embedding and as output matrix; it is"
                " part of output, where it classifies"
            ),
        ),
        "hugging_face_transformers": Model(
            "HuggingFaceTransformersDecoder",
            (
                row("decoder.0", rest="decoder"),
                row(
                    "decoder.{k}",
                    *(f"decoder.decoder.{stack}" for stack in _STACKS_OF_HF),
                    last=tuple(f"decoder.decoder.{norm}" for norm in _NORMS_OF_HF),
                ),
                row("output", "decoder.lm_head"),
            ),
            loaded=("decoder.decoder", "decoder.lm_head"),
            loads_again_by="load_pretrained_weights",
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

# Beside the decoder's own output: what else turns states into tokens at the top of a model.
OUTPUTS = (
    *("ctc", "pit_ctc", "st_ctc", "joint_network", "st_joint_network"),
    # Of a classifier of utterances (espnet2/slu/espnet_model.py, superb_setup).
    *("transform_mean", "transform_linear"),
    # Of a branch that reads a text instead of speech (espnet2/st/espnet_model.py).
    *("extra_mt_encoder", "extra_mt_decoder"),
)

# Numbers called like a dropout's that no forward pass reads, class -> attribute.
IDLE_RATES: Mapping[str, str] = {
    # espnet2/asr/decoder/rnn_decoder.py: its dropouts are modules
    "RNNDecoder": "dropout",
}

# Beside what has no gradient from the start (`espnet_topdown.training.model_layers.untrained`).
UNTRAINED = (
    # espnet2/asr/frontend/s3prl.py: the weights that add layers up, where one layer alone is taken
    Untrained("S3prlFrontend", "featurizer.weights", unless=("multilayer_feature", True)),
    # espnet2/asr/frontend/fused.py and whisper.py: what runs under no_grad, or not at all
    Untrained("FusedFrontends", "frontends"),
    Untrained("WhisperFrontend", "whisper.encoder", unless=("freeze_weights", False)),
    Untrained("WhisperFrontend", "whisper.decoder"),
    # espnet2/asr/encoder/beats_encoder.py: the first of the states is what the lowest layer reads
    Untrained("BeatsEncoder", "encoder.layers", first="max_layer"),
    # espnet2/beats/encoder.py (202611): constant, and read for the lengths alone
    Untrained("BeatsEncoder", "patch_embedding_pad"),
    Untrained("BeatsEncoder", "raw2fbank_pad"),
)


def find_model(part: str, name: str) -> Model | None:
    """The row of the class or choice `name` of a model's `part`, None for one outside the table."""
    for choice, model in MODELS[part].items():
        if name in (choice, model.name):
            return model
    return None
