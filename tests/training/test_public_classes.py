"""Phases of ESPnet's further classes: a base and a phase of each train, and are proved."""

from pathlib import Path

import pretrained
import pytest
import tiny
import torch
from tiny_phases import frozen_in

from espnet_topdown.training.checkpoint import load_state

BASE = tiny.asr_config("transformer", "transformer", max_epoch=2)
PREENCODER = dict(preencoder="linear", preencoder_conf=dict(input_size=16, output_size=20))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in the place of features, for frontends that read sound."""
    return tiny.write_data(tmp_path_factory.mktemp("sound"), is_sound=True)


def check_phase(
    directory: Path, data: Path, config: dict[str, object], cut: str, *, metric: str = "acc"
) -> set[str]:
    """Train a base, and a phase cut at `cut`; returns the frozen tensors.

    They are the base's in the phase's averaged model, and some of the others have moved.
    """
    from espnet_topdown.bin.train import main

    main(tiny.command(data, directory / "base", dict(config)))
    conf = {"parent": str(directory / "base"), "cut": cut}
    main(tiny.command(data, directory / "phase", config | dict(seed=1000, topdown_conf=conf)))
    frozen = frozen_in(directory / "phase")
    model = f"valid.{metric}.ave.pth"
    parent, phase = (load_state(directory / name / model) for name in ("base", "phase"))
    assert frozen and all(torch.equal(parent[name], phase[name]) for name in frozen)
    assert any(not torch.equal(parent[name], phase[name]) for name in phase.keys() - frozen)
    return frozen


def test_a_phase_of_a_transducer(espnet, data, tmp_path, monkeypatch):
    pretrained.transducer_loss(monkeypatch)
    config = BASE | dict(
        decoder="transducer",
        decoder_conf=dict(num_layers=2, hidden_size=8),
        joint_net_conf=dict(joint_space_size=8),
        model_conf=dict(ctc_weight=0.3),
        best_model_criterion=[["valid", "loss", "min"]],
    )
    frozen = check_phase(tmp_path, data, config, "decoder", metric="loss")
    assert {"joint_network.lin_out.weight", "decoder.embed.weight"} <= frozen
    assert not any(name.startswith("encoder.") for name in frozen)


def test_a_phase_above_a_frozen_s3prl_frontend(espnet, sound, tmp_path):
    config = BASE | PREENCODER | dict(input_size=None, frontend="s3prl")
    config |= dict(frontend_conf=pretrained.wavlm(tmp_path), freeze_param=["frontend.upstream"])
    check_phase(tmp_path, sound, config, "encoder.1")


def test_a_phase_of_whisper(espnet, sound, tmp_path, monkeypatch):
    pretrained.small_whisper(monkeypatch)
    config = BASE | dict(input_size=1, encoder="whisper", decoder="whisper")
    config |= {part: dict(whisper_model="tiny") for part in ("encoder_conf", "decoder_conf")}
    config |= dict(frontend=None)
    check_phase(tmp_path, sound, config, "encoder.1")


def test_a_phase_with_a_sinc_preencoder(espnet, sound, tmp_path):
    windows = dict(win_length=400, hop_length=160, channels=1, padding=0, fs=16000)
    config = BASE | dict(input_size=None, frontend="sliding_window", frontend_conf=windows)
    config |= dict(preencoder="sinc", preencoder_conf=dict(fs=16000))
    check_phase(tmp_path, sound, config, "encoder.1")


def test_a_phase_with_a_hugging_face_postencoder(espnet, data, tmp_path):
    conf = dict(model_name_or_path=pretrained.hugging_face(tmp_path, "bart"))
    config = BASE | dict(postencoder="hugging_face_transformers", postencoder_conf=conf)
    check_phase(tmp_path, data, config, "postencoder.1")
