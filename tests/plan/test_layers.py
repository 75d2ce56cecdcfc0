"""Matching names with layers: whole components, one layer for every tensor, cuts by name."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layer_names import cut_index
from espnet_topdown.plan.layers import layer_order


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


def stack(layers: int) -> list[str]:
    return [
        "encoder.embed.w",
        *(f"encoder.encoders.{k}.w" for k in range(layers)),
        "decoder.decoders.0.w",
        "ctc.ctc_lo.w",
    ]


def test_cut_at_one_leaves_layer_ten_alone():
    order = layer_order({"encoder": "transformer", "decoder": "transformer"}, stack(12))
    layers = {layer.name: layer.tensors for layer in order.layers}
    assert layers["encoder.1"] == ("encoder.encoders.1.w",)
    assert cut_index(order.names, "encoder.1") == 2
    assert cut_index(order.names, "encoder.10") == 11
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
        cut_index(order.names, cut)


def test_decoder_as_a_cut_of_a_ctc_model_says_that_it_is_one():
    order = layer_order(
        {"encoder": "transformer"}, ["encoder.embed.w", "encoder.encoders.0.w", "ctc.ctc_lo.w"]
    )
    with pytest.raises(TopdownError, match="CTC-only model, whose top layer is 'ctc'") as refused:
        cut_index(order.names, "decoder")
    # The encoder is spelled alike, and is not what was meant.
    assert "did you mean" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "choice"), [("decoder", "s4"), ("encoder", "longformer"), ("encoder", "avhubert")]
)
def test_parts_outside_the_table_are_refused_by_name(part, choice):
    parts = {"encoder": "transformer", "decoder": "transformer"} | {part: choice}
    with pytest.raises(
        TopdownError, match=f"no layer order is known for the {part} '{choice}' .known: .*'layers:'"
    ):
        layer_order(parts, ["encoder.embed.conv.0.weight"])
