"""The layer order.

Every parameter in one layer, the same names everywhere, and an order that gradients confirm.
"""

import pytest
import tiny
from models import CUSTOM, build

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layers import layer_order

BLOCKS = ("encoder.embed", "encoder.0", "encoder.1", "encoder.2")
NAMES = {
    **dict.fromkeys(tiny.ENCODERS, BLOCKS),
    "rnn": ("encoder.0", "encoder.1", "encoder.2"),
}
FUSED_RNN = dict(num_layers=3, hidden_size=8, output_size=8, use_projection=False)


@pytest.mark.parametrize("decoder", [*tiny.DECODERS, None])
@pytest.mark.parametrize("encoder", tiny.ENCODERS)
def test_every_parameter_is_in_exactly_one_layer(encoder, decoder, espnet, data):
    from espnet_topdown.training.freeze import order_of

    model = build("asr", tiny.asr_config(encoder, decoder), data)
    order = order_of(model)
    top = ("decoder.0", "decoder.1", "output") if decoder else ("ctc",)
    assert order.names == NAMES[encoder] + top
    placed = [name for layer in order.layers for name in layer.tensors]
    assert sorted(placed + list(order.outside)) == sorted(model.state_dict())
    assert len(set(placed)) == len(placed)
    parameters = {name for name, _ in model.named_parameters()}
    assert not parameters & set(order.outside)


@pytest.mark.parametrize("encoder", ["rnn", "vgg_rnn"])
def test_layers_of_a_fused_lstm_are_told_apart_by_parameter_name(encoder, espnet, data):
    from espnet_topdown.training.freeze import order_of

    config = tiny.asr_config(encoder, "rnn", encoder_conf=FUSED_RNN)
    layers = {layer.name: layer.tensors for layer in order_of(build("asr", config, data)).layers}
    stem = f"encoder.enc.{0 if encoder == 'rnn' else 1}"
    names = [
        f"{stem}.nbrnn.{kind}_{part}_l1{way}"
        for way in ("", "_reverse")
        for kind in ("weight", "bias")
        for part in ("ih", "hh")
    ]
    assert sorted(layers["encoder.1"]) == sorted(names)
    assert f"{stem}.l_last.weight" in layers["encoder.2"]


@pytest.mark.parametrize("tie", [True, False])
def test_layers_of_the_language_models(tie, espnet, data):
    from espnet_topdown.training.freeze import order_of, tied_groups

    lm = build("lm", tiny.lm_config(lm_conf={**tiny.LMS["seq_rnn"], "tie_weights": tie}), data)
    order = order_of(lm)
    assert order.names == ("embed", "rnn.0", "rnn.1", "rnn.2", "output")
    assert order.layers[0].tensors == ("lm.encoder.weight",)
    assert set(order.layers[-1].tensors) == {"lm.decoder.weight", "lm.decoder.bias"}
    assert tied_groups(lm) == ([("lm.encoder.weight", "lm.decoder.weight")] if tie else [])
    order = order_of(build("lm", tiny.lm_config("transformer"), data))
    assert order.names == ("embed", "encoder.0", "encoder.1", "output")
    assert "lm.encoder.after_norm.weight" in order.layers[2].tensors


def gradient_arrival(model, batch: dict[str, object]) -> list[str]:
    """Names of the parameters in the order in which a backward pass completes their gradients."""
    arrived: list[str] = []
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrived.append(name))
    model.train()
    model(**batch)[0].backward()
    return arrived


@pytest.mark.parametrize("decoder", [*tiny.DECODERS, None])
@pytest.mark.parametrize("encoder", tiny.ENCODERS)
def test_gradients_arrive_from_the_top_layer_to_the_bottom_layer(encoder, decoder, espnet, data):
    """Second route to the order.

    Within `output`, CTC's gradient comes after the decoder's, so a layer counts from its
    first gradient; the attention loop of an RNN decoder is inside `decoder.0`."""
    import torch

    from espnet_topdown.training.freeze import order_of

    torch.manual_seed(0)
    model = build("asr", tiny.asr_config(encoder, decoder), data)
    order = order_of(model)
    batch = dict(
        speech=torch.randn(2, 90, tiny.DIM),
        speech_lengths=torch.tensor([90, 80]),
        text=torch.tensor([[2, 3, 4], [3, 4, 5]]),
        text_lengths=torch.tensor([3, 3]),
    )
    arrived = gradient_arrival(model, batch)
    first = [min(arrived.index(t) for t in layer.tensors if t in arrived) for layer in order.layers]
    assert first == sorted(first, reverse=True)


def test_gradients_of_a_language_model_arrive_in_order_except_within_its_one_lstm(espnet, data):
    import torch

    from espnet_topdown.training.freeze import order_of

    model = build("lm", tiny.lm_config(lm_conf={**tiny.LMS["seq_rnn"], "tie_weights": False}), data)
    arrived = gradient_arrival(
        model, dict(text=torch.tensor([[2, 3, 4]]), text_lengths=torch.tensor([3]))
    )
    place = order_of(model).of_module
    blocks = list(dict.fromkeys(str(place(name)).split(".")[0] for name in arrived))
    assert blocks == ["output", "rnn", "embed"]


def test_conditioning_layer_joins_the_lowest_block_that_it_feeds(espnet, data):
    from espnet_topdown.training.freeze import order_of

    conf = tiny.ENCODERS["transformer"] | dict(
        interctc_layer_idx=[2, 1], interctc_use_conditioning=True
    )
    config = tiny.asr_config(
        "transformer", encoder_conf=conf, model_conf=dict(ctc_weight=0.5, interctc_weight=0.3)
    )
    order = order_of(build("asr", config, data))
    layers = {layer.name: layer.tensors for layer in order.layers}
    assert "encoder.conditioning_layer.weight" in layers["encoder.1"]
    assert "encoder.1" in order.notes[0]


def test_without_ctc_the_output_is_the_decoders_alone(espnet, data):
    from espnet_topdown.training.freeze import order_of

    order = order_of(build("asr", tiny.asr_config(model_conf=dict(ctc_weight=0.0)), data))
    assert set(order.layers[-1].tensors) == {"decoder.output.weight", "decoder.output.bias"}


def test_model_outside_the_table_is_refused_by_name_and_taken_with_an_order_of_its_own(
    espnet, data
):
    from espnet_topdown.training.freeze import order_of

    conf = dict(
        output_size=16,
        attention_heads=2,
        cgmlp_linear_units=16,
        num_blocks=2,
        multicgmlp_kernel_sizes="3,5",
    )
    model = build(
        "asr", tiny.asr_config() | dict(encoder="multiconv_conformer", encoder_conf=conf), data
    )
    with pytest.raises(
        TopdownError,
        match="no layer order is known for the encoder 'MultiConvConformerEncoder'.*'layers:'",
    ):
        order_of(model)
    assert order_of(model, CUSTOM).names == ("bottom", "blocks", "top")


def test_pattern_that_matches_nothing_and_tensor_in_no_layer_are_errors():
    tensors = ["encoder.embed.weight", "encoder.encoders.0.w", "decoder.w"]
    with pytest.raises(TopdownError, match="match nothing in this model: typo: encoder.enocders"):
        layer_order({}, tensors, custom={"a": ["encoder.embed"], "typo": ["encoder.enocders"]})
    with pytest.raises(
        TopdownError, match="1 tensors are in no layer or in several.*first: decoder.w"
    ):
        layer_order({}, tensors, custom={"a": ["encoder"]})
    with pytest.raises(TopdownError, match="in no layer or in several"):
        layer_order({}, tensors, custom={"a": ["encoder"], "b": ["encoder.embed", "decoder"]})


def stack(blocks: int) -> list[str]:
    return [
        "encoder.embed.w",
        *(f"encoder.encoders.{k}.w" for k in range(blocks)),
        "decoder.decoders.0.w",
        "ctc.ctc_lo.w",
    ]


def test_cut_at_one_leaves_layer_ten_alone():
    order = layer_order({"encoder": "transformer", "decoder": "transformer"}, stack(12))
    layers = {layer.name: layer.tensors for layer in order.layers}
    assert layers["encoder.1"] == ("encoder.encoders.1.w",)
    assert order.index("encoder.1") == 2
    assert order.index("encoder.10") == 11
    assert order.of_module("encoder.encoders.1.norm") == "encoder.1"
    assert order.of_module("encoder.encoders") is None


@pytest.mark.parametrize(
    ("cut", "fragment"),
    [
        ("encoder.12", "did you mean encoder.2, encoder.1, encoder.11"),
        ("encodr.3", "did you mean encoder.3"),
        ("decoder.7", "decoder.0"),
    ],
)
def test_unknown_cut_names_the_nearest_layers(cut, fragment):
    order = layer_order({"encoder": "transformer", "decoder": "transformer"}, stack(12))
    with pytest.raises(TopdownError, match=f"unknown cut '{cut}'.*{fragment}"):
        order.index(cut)


def test_decoder_as_a_cut_of_a_ctc_model_says_that_it_is_one():
    order = layer_order(
        {"encoder": "transformer"}, ["encoder.embed.w", "encoder.encoders.0.w", "ctc.ctc_lo.w"]
    )
    with pytest.raises(TopdownError, match="CTC-only model, whose top layer is 'ctc'"):
        order.index("decoder")


@pytest.mark.parametrize(
    ("part", "choice"), [("decoder", "s4"), ("decoder", "transducer"), ("encoder", "whisper")]
)
def test_parts_outside_the_table_are_refused_by_name(part, choice):
    parts = {"encoder": "transformer", "decoder": "transformer"} | {part: choice}
    with pytest.raises(
        TopdownError, match=f"no layer order is known for the {part} '{choice}' .known: .*'layers:'"
    ):
        layer_order(parts, ["encoder.embed.conv.0.weight"])
