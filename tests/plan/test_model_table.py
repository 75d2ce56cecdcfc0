"""The table against ESPnet's own models: all parameters placed, in the order of the gradients."""

import pytest
import tiny
import torch
from models import build

from espnet_topdown.training.model_layers import order_of, tied_groups

ENCODER = ("encoder.embed", "encoder.0", "encoder.1", "encoder.2")
NAMES = dict.fromkeys(tiny.ENCODERS, ENCODER) | {"rnn": ENCODER[1:]}
FUSED_RNN = dict(num_layers=3, hidden_size=8, output_size=8, use_projection=False)


@pytest.mark.parametrize("decoder", [*tiny.DECODERS, None])
@pytest.mark.parametrize("encoder", tiny.ENCODERS)
def test_every_parameter_is_in_exactly_one_layer(encoder, decoder, espnet):
    model = build("asr", tiny.asr_config(encoder, decoder))
    order = order_of(model)
    top = ("decoder.0", "decoder.1", "output") if decoder else ("ctc",)
    assert order.names == NAMES[encoder] + top
    placed = [name for layer in order.layers for name in layer.tensors]
    assert sorted(placed + list(order.outside)) == sorted(model.state_dict())
    assert len(set(placed)) == len(placed)
    parameters = {name for name, _ in model.named_parameters()}
    assert not parameters & set(order.outside)


@pytest.mark.parametrize("encoder", ["rnn", "vgg_rnn"])
def test_layers_of_a_fused_lstm_are_told_apart_by_parameter_name(encoder, espnet):
    config = tiny.asr_config(encoder, "rnn", encoder_conf=FUSED_RNN)
    layers = {layer.name: layer.tensors for layer in order_of(build("asr", config)).layers}
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
def test_layers_of_the_language_models(tie, espnet):
    lm = build("lm", tiny.lm_config(lm_conf={**tiny.LMS["seq_rnn"], "tie_weights": tie}))
    order = order_of(lm)
    assert order.names == ("embed", "rnn.0", "rnn.1", "rnn.2", "output")
    assert order.layers[0].tensors == ("lm.encoder.weight",)
    assert set(order.layers[-1].tensors) == {"lm.decoder.weight", "lm.decoder.bias"}
    assert tied_groups(lm) == ([("lm.encoder.weight", "lm.decoder.weight")] if tie else [])
    order = order_of(build("lm", tiny.lm_config("transformer")))
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
def test_gradients_arrive_from_the_top_layer_to_the_bottom_layer(encoder, decoder, espnet):
    """Second route to the order.

    Within `output`, CTC's gradient comes after the decoder's, so a layer counts from its first
    gradient; the attention loop of an RNN decoder is inside `decoder.0`.
    """
    torch.manual_seed(0)
    model = build("asr", tiny.asr_config(encoder, decoder))
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


def test_gradients_of_a_language_model_arrive_in_order_except_within_its_one_lstm(espnet):
    model = build("lm", tiny.lm_config(lm_conf={**tiny.LMS["seq_rnn"], "tie_weights": False}))
    arrived = gradient_arrival(
        model, dict(text=torch.tensor([[2, 3, 4]]), text_lengths=torch.tensor([3]))
    )
    place = order_of(model).of_module
    stacks = [str(place(name)).split(".")[0] for name in arrived]
    assert list(dict.fromkeys(stacks)) == ["output", "rnn", "embed"]
