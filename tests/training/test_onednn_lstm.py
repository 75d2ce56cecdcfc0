"""Encoders' LSTM layers by oneDNN: outputs and gradients of PyTorch's, and who asks for it."""

import copy
import json

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

LENGTHS = [30, 30, 17, 9, 4]


@pytest.fixture
def asked(monkeypatch) -> None:
    monkeypatch.setenv("ESPNET_TOPDOWN_LSTM", "onednn")


@pytest.fixture(params=["blstm", "lstm"])
def encoder(espnet, request) -> nn.Module:
    """ESPnet's projected LSTM encoder of three layers that halve the frames twice."""
    from espnet2.asr.encoder.rnn_encoder import RNNP

    torch.manual_seed(0)
    return RNNP(5, 3, 16, 12, np.array([1, 2, 2, 1]), 0.0, typ=request.param)


def by_onednn(encoder: nn.Module) -> nn.Module:
    from espnet_topdown.training import onednn_lstm

    model = nn.Module()
    model.encoder = copy.deepcopy(encoder)
    onednn_lstm.use(model)
    return model.encoder


def outputs_and_gradients(encoder: nn.Module) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Of one batch; the outputs beyond an utterance's end are left out."""
    batch = torch.randn(5, 30, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    outputs, lengths, _ = encoder(batch, torch.tensor(LENGTHS))
    kept = [row[:length] for row, length in zip(outputs, lengths, strict=True)]
    (torch.cat(kept) ** 2).sum().backward()
    gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    return torch.cat(kept), {"batch": batch.grad, **gradients}


def assert_same(encoder: nn.Module, other: nn.Module) -> None:
    (outputs, gradients), (others, their) = map(outputs_and_gradients, (encoder, other))
    torch.testing.assert_close(outputs, others)
    assert gradients.keys() == their.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, their[name], rtol=1e-4, atol=1e-5)


def test_utterances_of_unequal_length_are_as_pytorchs(encoder, asked):
    other = by_onednn(encoder)
    assert [type(layer).__name__ for layer in other.children()].count("PaddedLSTM") == 3
    assert_same(encoder, other)


def test_layers_below_frozen_ones_learn_as_pytorchs(encoder, asked):
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_("0" in name.partition(".")[0])
    other = by_onednn(encoder)
    assert_same(encoder, other)
    learnt = {name for name, parameter in other.named_parameters() if parameter.grad is not None}
    assert learnt == {name for name, one in other.named_parameters() if one.requires_grad}


def test_gradients_pass_a_layer_in_evaluation_mode(encoder, asked):
    list(encoder.children())[2].eval()
    assert_same(encoder, by_onednn(encoder))


def test_batches_in_any_order_come_back_in_theirs(encoder, asked):
    layer, other = (next(one.children()) for one in (encoder, by_onednn(encoder)))
    packed = nn.utils.rnn.pack_sequence(
        [torch.randn(length, 5) for length in (4, 9, 7)], enforce_sorted=False
    )
    both = [nn.utils.rnn.unpack_sequence(one(packed)[0]) for one in (layer, other)]
    torch.testing.assert_close(*both)


def test_states_of_earlier_frames_are_taken(encoder, asked):
    layer, other = (next(one.children()) for one in (encoder, by_onednn(encoder)))
    packed = nn.utils.rnn.pack_sequence([torch.randn(9, 5), torch.randn(4, 5)])
    states = torch.randn(2, 2 if layer.bidirectional else 1, 2, 16).unbind()
    (outputs, ended), (others, their) = (one(packed, states) for one in (layer, other))
    torch.testing.assert_close(outputs.data, others.data, rtol=0, atol=0)
    torch.testing.assert_close(ended, their, rtol=0, atol=0)


@pytest.mark.parametrize("value", ["", "onednn"])
def test_a_base_and_its_phase_train_so_if_the_environment_asks_for_it(
    espnet, data, tmp_path, monkeypatch, value
):
    from espnet_topdown.bin.train import main
    from espnet_topdown.training.onednn_lstm import PaddedLSTM

    monkeypatch.setenv("ESPNET_TOPDOWN_LSTM", value)
    called: list[str] = []
    forward = PaddedLSTM.forward
    monkeypatch.setattr(
        PaddedLSTM, "forward", lambda self, *rest, **_: called.append("") or forward(self, *rest)
    )
    base, phase = (tmp_path / name for name in ("base", "phase"))
    main(tiny.command(data, base, tiny.asr_config("rnn", max_epoch=1)))
    assert bool(called) == bool(value)
    called.clear()
    conf = {"parent": str(base), "cut": "encoder.2"}
    main(tiny.command(data, phase, tiny.asr_config("rnn", max_epoch=1, topdown_conf=conf, seed=1)))
    assert bool(called) == bool(value)
    proof = json.loads((phase / "topdown" / "proof.json").read_text())
    assert any(name.startswith("encoder.enc.0.birnn2.") for name in proof["frozen"])


def test_float64_and_layers_outside_the_encoder_stay_pytorchs(encoder, asked):
    model = nn.Module()
    model.encoder, model.beamformer = copy.deepcopy(encoder).double(), encoder
    from espnet_topdown.training import onednn_lstm

    onednn_lstm.use(model)
    assert {type(one) for one in model.modules()} >= {nn.LSTM}
    assert not any(type(one).__name__ == "PaddedLSTM" for one in model.modules())
