"""The layers of built models: outputs, dropouts, ties, sizes, and models outside the table."""

import pytest
import tiny
import torch
from models import CUSTOM, build
from new_process import in_new_process

from espnet_topdown.errors import TopdownError
from espnet_topdown.training.layer_notes import layer_notes
from espnet_topdown.training.model_layers import (
    dropouts,
    layers_held_by_ties,
    moving_state,
    order_of,
    parameter_counts,
    tied_groups,
    unreached,
)


def test_conditioning_layer_joins_the_lowest_layer_that_it_feeds(espnet):
    conf = tiny.ENCODERS["transformer"] | dict(
        interctc_layer_idx=[2, 1], interctc_use_conditioning=True
    )
    config = tiny.asr_config(
        "transformer", encoder_conf=conf, model_conf=dict(ctc_weight=0.5, interctc_weight=0.3)
    )
    order = order_of(build("asr", config))
    layers = {layer.name: layer.tensors for layer in order.layers}
    assert "encoder.conditioning_layer.weight" in layers["encoder.1"]
    assert "encoder.1" in order.notes[0]


def test_without_ctc_the_output_is_the_decoders_alone(espnet):
    order = order_of(build("asr", tiny.asr_config(model_conf=dict(ctc_weight=0.0))))
    assert set(order.layers[-1].tensors) == {"decoder.output.weight", "decoder.output.bias"}


def test_model_outside_the_table_is_refused_by_name_and_taken_with_an_order_of_its_own(espnet):
    model = build("asr", tiny.asr_config())
    model.encoder.__class__ = type("OwnEncoder", (type(model.encoder),), {})
    with pytest.raises(
        TopdownError, match="no layer order is known for the encoder 'OwnEncoder'.*'layers:'"
    ):
        order_of(model)
    assert order_of(model, CUSTOM).names == ("bottom", "middle", "top")


@pytest.mark.parametrize("encoder", tiny.ENCODERS)
def test_every_dropout_of_a_table_model_can_be_placed(encoder, espnet):
    conf = tiny.ENCODERS[encoder] | (
        {"dropout": 0.1} if "rnn" in encoder else {"dropout_rate": 0.1}
    )
    for decoder, rate in (("rnn", {"dropout": 0.1}), ("transformer", {"dropout_rate": 0.1})):
        config = tiny.asr_config(
            encoder, decoder, encoder_conf=conf, decoder_conf=tiny.DECODERS[decoder] | rate
        )
        model = build("asr", config)
        assert [rate.name for rate in dropouts(model, order_of(model)) if not rate.layers] == []


def test_frontend_with_parameters_is_refused(espnet):
    model = build("asr", tiny.asr_config())
    model.frontend = torch.nn.Linear(2, 2)
    with pytest.raises(TopdownError, match="Linear has parameters of its own .*frontend.weight"):
        order_of(model)


def test_weights_in_one_storage_are_tied_only_where_they_are_one(espnet):
    """On a GPU, cuDNN packs all weights of an nn.LSTM into one storage (flatten_parameters)."""
    model = build("lm", tiny.lm_config())
    lstm = model.lm.rnn
    packed = torch.zeros(sum(weight.numel() for weight in lstm.parameters()))
    start = 0
    for weight in lstm.parameters():
        place = packed[start : start + weight.numel()].view_as(weight)
        weight.data = place.copy_(weight.data)
        start += weight.numel()
    assert tied_groups(model) == [("lm.encoder.weight", "lm.decoder.weight")]
    counts = parameter_counts(model, order_of(model))
    assert sum(counts.values()) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.gpu
def test_weights_of_an_lstm_on_a_gpu_are_not_tied():
    in_new_process(weights_on_a_gpu)


def weights_on_a_gpu() -> None:
    lstm = torch.nn.LSTM(16, 16, 2, bidirectional=True).cuda()
    assert len({weight.untyped_storage().data_ptr() for weight in lstm.parameters()}) == 1
    assert tied_groups(lstm) == []


def test_a_view_of_another_shape_and_empty_parameters_are_not_tied():
    """The first weight in cuDNN's one storage has the address of that storage."""
    whole = torch.zeros(12)
    model = torch.nn.ParameterDict(
        {
            "whole": torch.nn.Parameter(whole),
            "start": torch.nn.Parameter(whole[:4]),
            "matrix": torch.nn.Parameter(whole.view(3, 4)),
            "same": torch.nn.Parameter(whole[:4]),
            "next": torch.nn.Parameter(whole[4:8]),
            "empty": torch.nn.Parameter(torch.zeros(0)),
            "void": torch.nn.Parameter(torch.zeros(0)),
        }
    )
    assert tied_groups(model) == [("same", "start")]


def test_a_tied_matrix_counts_in_its_lower_layer_and_is_named_at_both_ends(espnet):
    model = build("lm", tiny.lm_config())
    order = order_of(model)
    matrix = 12 * len(tiny.TOKENS)
    counts = parameter_counts(model, order)
    assert (counts["embed"], counts["output"]) == (matrix, len(tiny.TOKENS))
    held = layers_held_by_ties(model, order)
    assert (held["embed"], held["output"]) == ({"output": matrix}, {"embed": matrix})


def test_notes_say_what_freezing_meets(espnet):
    notes = layer_notes(model := build("lm", tiny.lm_config()), order_of(model))
    shared = "dropout 0.1 (shared)"
    assert notes["embed"] == f"{shared}, lm.encoder.weight tied to lm.decoder.weight"
    assert notes["rnn.1"] == f"part of one nn.LSTM, {shared}"
    conformer = build("asr", tiny.asr_config("conformer", None))
    notes = layer_notes(conformer, order_of(conformer))
    assert "BatchNorm1d (running statistics)" in notes["encoder.0"]


def test_state_that_cannot_be_frozen_is_noted_and_batchnorms_is_not(espnet):
    model = build("asr", tiny.asr_config("conformer", "transformer"))
    model.encoder.embed.register_buffer("global_step", torch.zeros(1))
    order = order_of(model)
    moving = moving_state(model, order)
    assert moving.pop("encoder.embed") == ["encoder.embed.global_step"]
    assert not any(moving.values())
    notes = layer_notes(model, order)
    assert "encoder.embed.global_step moves and cannot be frozen" in notes["encoder.embed"]
    assert "BatchNorm1d (running statistics)" in notes["encoder.0"]


class S3prlFrontend(torch.nn.Module):
    """As ESPnet's is built: an upstream, and weights that add its layers up."""

    def __init__(self, *, multilayer_feature: bool) -> None:
        super().__init__()
        self.upstream = torch.nn.Linear(2, 2)
        self.featurizer = torch.nn.ParameterDict({"weights": torch.zeros(3)})
        self.multilayer_feature = multilayer_feature


class FusedFrontends(torch.nn.Module):
    """As ESPnet's is built: frontends side by side, and a projection of each."""

    def __init__(self) -> None:
        super().__init__()
        self.frontends = torch.nn.ModuleList([S3prlFrontend(multilayer_feature=True)])
        self.projection_layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])


class WhisperFrontend(torch.nn.Module):
    """As ESPnet's is built: the whole model, of which the encoder is read."""

    def __init__(self, *, freeze_weights: bool) -> None:
        super().__init__()
        parts = {part: torch.nn.Linear(2, 2, bias=False) for part in ("encoder", "decoder")}
        self.whisper = torch.nn.ModuleDict(parts)
        self.freeze_weights = freeze_weights


@pytest.mark.parametrize(
    ("frontend", "expected"),
    [
        (S3prlFrontend(multilayer_feature=True), set()),
        (S3prlFrontend(multilayer_feature=False), {"featurizer.weights"}),
        (
            FusedFrontends(),
            {f"frontends.0.{name}" for name in ("upstream.weight", "upstream.bias")}
            | {"frontends.0.featurizer.weights"},
        ),
        (
            WhisperFrontend(freeze_weights=True),
            {"whisper.encoder.weight", "whisper.decoder.weight"},
        ),
        (WhisperFrontend(freeze_weights=False), {"whisper.decoder.weight"}),
    ],
)
def test_what_a_frontend_never_trains_is_known(frontend, expected, espnet):
    model = build("asr", tiny.asr_config())
    model.frontend = frontend
    assert set(unreached(model)) == {f"frontend.{name}" for name in expected}
