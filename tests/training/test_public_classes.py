"""Phases of ESPnet's further classes: each trains, is proved, and is decoded by ESPnet's own tool.

The classes and their configs are those of `tests/plan/test_public_models.py`.
"""

import importlib
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pretrained
import pytest
import tiny
import torch
import yaml
from models import build
from plan import test_public_models as public
from tiny_phases import frozen_in

from espnet_topdown.training.checkpoint import load_state

BASE = public.BASE
DECODER = dict(decoder_conf=tiny.DECODERS["transformer"])
# Cases whose model reads sound instead of features.
SOUND = ("sinc preencoder", "fused frontends", "beats", "wav2vec_cnn frontend", "torchaudiohubert")
# Cases whose text is a class.
CLASSES = ("linear decoder", "understanding, classifier")
# Case -> lowest frozen layer, where that is not the second of the encoder.
CUTS = {
    "length adaptor": "postencoder",
    "hierarchical translation": "hier_encoder.0",
    "translation with several decoders": "md_encoder.0",
    "several speakers": "encoder.0",
}
# In the fast tests, for all.
FAST = ("multiconv_conformer",)
# Case -> options of ESPnet's tool.
OPTIONS = {
    "several speakers": dict(multi_asr=True),
    "linear decoder": dict(ctc_weight=0.0),
    "translation with several decoders": dict(asr_beam_size=2),
}
# ESPnet has no tool for it.
NOT_DECODED = ("understanding, classifier",)
# ESPnet's tool, its class, and the words before the config and the model among its arguments.
TOOLS = {
    "asr": ("asr_inference", "Speech2Text", "asr"),
    "maskctc": ("asr_inference_maskctc", "Speech2Text", "asr"),
    "st": ("st_inference", "Speech2Text", "st"),
    "slu": ("slu_inference", "Speech2Understand", "slu"),
    "mt": ("mt_inference", "Text2Text", "mt"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in the place of features, for frontends that read sound."""
    return tiny.write_data(tmp_path_factory.mktemp("sound"), is_sound=True)


def words(
    data: Path, directory: Path, config: Mapping[str, object], task: str, texts: Sequence[str]
) -> list[str]:
    """Arguments of one training; `texts` are further names under which it reads the text."""
    args = tiny.command(data, directory, dict(config, task=task))
    if task == "mt":
        args = without_speech(args)
    for name, part in itertools.product(texts, ("train", "valid")):
        args += [f"--{part}_data_path_and_name_and_type", f"{data}/{part}/text,{name},text"]
        args += [f"--{part}_shape_file", f"{data}/{part}/text_shape"]
    if "src_text" in texts:
        args += ["--src_token_list", str(data / "tokens.txt")]
    return args


def without_speech(args: Sequence[str]) -> list[str]:
    """Arguments of a training that reads no speech."""
    left = list(args)
    for place in reversed(range(len(args))):
        if args[place].endswith((",speech,npy", "/speech_shape")):
            del left[place - 1 : place + 1]
    return left


def with_one_letter(data: Path, place: Path) -> Path:
    """A copy of `data` whose texts are their first letters, as classes are."""
    shutil.copytree(data, place)
    for part in ("train", "valid"):
        text = place / part / "text"
        lines = [line[: line.index(" ") + 2] for line in text.read_text().splitlines()]
        text.write_text("\n".join(lines) + "\n")
    return place


def starting_weights(directory: Path, config: Mapping[str, object]) -> str:
    """``init_param`` of a random encoder; a part of that of the case is trained by nothing else."""
    model = build("asr", dict(config))
    torch.save(model.state_dict(), directory / "start.pth")
    return f"{directory}/start.pth:encoder:encoder"


def as_espnet_decodes(path: Path) -> None:
    """Change a config as the note on translation with several decoders says."""
    config = yaml.safe_load(path.read_text())
    config["extra_asr_decoder"] = "transformer"
    del config["extra_asr_decoder_conf"]["use_speech_attn"]
    path.write_text(yaml.safe_dump(config))


def check_phase(
    directory: Path,
    data: Path,
    config: Mapping[str, object],
    cut: str,
    *,
    task: str = "asr",
    texts: Sequence[str] = (),
    kind: str = "top_down",
) -> set[str]:
    """Train a base, and a phase cut at `cut`, two epochs each; returns the frozen tensors.

    They are the base's in the phase's averaged model, and some of the others have moved.
    """
    from espnet_topdown.bin.train import main

    config = config | dict(max_epoch=2, best_model_criterion=[["valid", "loss", "min"]])
    main(words(data, directory / "base", config, task, texts))
    conf = {"parent": str(directory / "base"), "cut": cut, "kind": kind}
    phase = config | dict(seed=1000, topdown_conf=conf)
    main(words(data, directory / "phase", phase, task, texts))
    frozen = frozen_in(directory / "phase")
    parent, final = (
        load_state(directory / name / "valid.loss.ave.pth") for name in ("base", "phase")
    )
    assert frozen and all(torch.equal(parent[name], final[name]) for name in frozen)
    assert any(not torch.equal(parent[name], final[name]) for name in final.keys() - frozen)
    return frozen


def decode(phase: Path, *, task: str = "asr", is_sound: bool = False, **options: Any) -> list[Any]:
    """Hypotheses of ESPnet's own inference class for noise."""
    module, name, stem = TOOLS[task]
    tool = getattr(importlib.import_module(f"espnet2.bin.{module}"), name)
    files = {
        f"{stem}_train_config": str(phase / "config.yaml"),
        f"{stem}_model_file": str(phase / "valid.loss.ave.pth"),
    }
    shape = (9600,) if is_sound else (60, tiny.DIM)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    given = [noise]
    if task == "mt":
        given = [torch.tensor([2, 3, 4])]
    if task == "slu":
        given.append(torch.tensor([2, 3, 4]))
    if task == "maskctc":
        return tool(**files)(*given)
    return tool(**files, **{"beam_size": 2, "maxlenratio": -4, **options})(*given)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in FAST else pytest.mark.slow) for case in public.CASES],
)
def test_a_phase_of_a_public_class_is_proved_and_decoded(case, espnet, data, sound, tmp_path):
    task, config, _ = public.CASES[case]
    is_sound = case in SOUND
    texts = ["src_text"] if task == "st" else []
    if case == "several speakers":
        texts = ["text_spk2"]
        names = dict(text_name=["text", "text_spk2"])
        config = config | dict(preprocessor="multi", preprocessor_conf=names)
    if case in CLASSES:
        data = with_one_letter(data, tmp_path / "data")
    where = sound if is_sound else data
    cut = CUTS.get(case, "encoder.1")
    if case == "torchaudiohubert":
        config = config | dict(init_param=[starting_weights(tmp_path, config)])
    check_phase(tmp_path, where, config, cut, task=task, texts=texts)
    if case == "mlm":
        assert decode(tmp_path / "phase", task="maskctc")
    elif case not in NOT_DECODED:
        if case == "translation with several decoders":
            as_espnet_decodes(tmp_path / "phase" / "config.yaml")
        options = OPTIONS.get(case, {})
        assert decode(tmp_path / "phase", task=task, is_sound=is_sound, **options)


@pytest.mark.slow
@pytest.mark.parametrize("durations", [(), (2,)], ids=["one blank", "several blanks"])
def test_a_phase_of_a_transducer(durations, espnet, data, tmp_path, monkeypatch):
    pretrained.transducer_loss(monkeypatch)
    frozen = check_phase(tmp_path, data, public.transducer(durations), "decoder")
    assert {"joint_network.lin_out.weight", "decoder.embed.weight"} <= frozen
    assert not any(name.startswith("encoder.") for name in frozen)
    assert decode(tmp_path / "phase")


@pytest.mark.slow
def test_a_phase_of_a_transducer_that_translates(espnet, data, tmp_path, monkeypatch):
    pretrained.transducer_loss(monkeypatch)
    config = public.st(decoder="transducer", decoder_conf=dict(num_layers=2, hidden_size=8))
    config |= dict(st_joint_net_conf=dict(joint_space_size=8))
    check_phase(tmp_path, data, config, "decoder", task="st", texts=["src_text"])
    assert decode(tmp_path / "phase", task="st", transducer_conf={})


@pytest.mark.slow
def test_a_phase_of_patches_of_tokens(espnet, data, tmp_path):
    task, config, _ = public.PLACED["patches of tokens"]
    check_phase(tmp_path, data, config, "encoder.1", task=task, texts=["src_text"])
    assert decode(tmp_path / "phase", task="mt")


@pytest.mark.slow
def test_a_phase_of_a_translation_that_reads_text_too(espnet, data, tmp_path):
    task, config, _ = public.PLACED["translation of text beside speech"]
    bart = dict(model_name_or_path=pretrained.hugging_face(tmp_path, "bart"))
    config = config | dict(extra_mt_encoder="hugging_face_transformers", extra_mt_encoder_conf=bart)
    # ESPnet pads with -1, which Hugging Face's model does not know: texts of one length.
    letters = with_one_letter(data, tmp_path / "data")
    check_phase(tmp_path, letters, config, "decoder", task=task, texts=["src_text"])
    assert decode(tmp_path / "phase", task=task)


@pytest.mark.slow
def test_a_part_that_its_class_never_trains_is_not_drawn(espnet, sound, tmp_path, capsys):
    task, config, _ = public.CASES["torchaudiohubert"]
    with pytest.raises(SystemExit):
        check_phase(tmp_path, sound, config, "encoder.1", task=task)
    assert "encoder.embed: drawn anew, but ESPnet's class never trains" in capsys.readouterr().err


# With one layer of the upstream alone, the weights that would add several up are never read.
@pytest.mark.parametrize("layers", [dict(multilayer_feature=True), dict(layer=1)])
def test_a_phase_above_a_frozen_s3prl_frontend(layers, espnet, sound, tmp_path):
    config = public.s3prl(tmp_path) | dict(freeze_param=["frontend.upstream"])
    config["frontend_conf"] |= dict(multilayer_feature=False) | layers
    check_phase(tmp_path, sound, config, "encoder.1")
    assert decode(tmp_path / "phase", is_sound=True)


def test_a_checkpoint_without_the_upstreams_tensors_is_refused(espnet, sound, tmp_path, capsys):
    from espnet_topdown.bin.train import main

    config = public.s3prl(tmp_path) | dict(max_epoch=1)
    main(words(sound, tmp_path / "base", config, "asr", ()))
    model = tmp_path / "base" / "1epoch.pth"
    kept = {k: v for k, v in load_state(model).items() if not k.startswith("frontend.upstream.")}
    torch.save(kept, model)
    for kind in ("top_down", "bottom_up"):
        conf = {"parent": str(tmp_path / "base"), "cut": "encoder.1", "kind": kind}
        phase = config | dict(seed=1000, topdown_conf=conf)
        with pytest.raises(SystemExit):
            main(words(sound, tmp_path / kind, phase, "asr", ()))
        assert "has no tensors of frontend.upstream" in capsys.readouterr().err


# TERA computes its features by windows and filters, which are buffers.
@pytest.mark.slow
@pytest.mark.parametrize("upstream", ["wavlm", "tera"])
def test_a_phase_that_keeps_an_s3prl_frontend(upstream, espnet, sound, tmp_path):
    conf = getattr(pretrained, upstream)(tmp_path)
    config = public.s3prl(tmp_path) | dict(frontend_conf=conf)
    frozen = check_phase(tmp_path, sound, config, "encoder.1", kind="bottom_up")
    assert any(name.startswith("frontend.upstream.") for name in frozen)
    assert decode(tmp_path / "phase", is_sound=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["huggingface", "espnet_ssl", "fused"])
def test_a_phase_above_another_pretrained_frontend(kind, espnet, sound, tmp_path):
    config = public.FRONTENDS[kind](tmp_path)
    check_phase(tmp_path, sound, config, "encoder.1")
    assert decode(tmp_path / "phase", is_sound=True)


@pytest.mark.slow
def test_a_phase_of_whisper(espnet, sound, tmp_path, monkeypatch):
    pretrained.small_whisper(monkeypatch)
    config = BASE | dict(input_size=1, encoder="whisper", decoder="whisper")
    config |= {part: dict(whisper_model="tiny") for part in ("encoder_conf", "decoder_conf")}
    config |= dict(frontend=None)
    check_phase(tmp_path, sound, config, "encoder.1")
    assert decode(tmp_path / "phase", is_sound=True)


@pytest.mark.slow
def test_a_phase_with_a_hugging_face_postencoder(espnet, data, tmp_path):
    conf = dict(model_name_or_path=pretrained.hugging_face(tmp_path, "bart"))
    config = BASE | dict(postencoder="hugging_face_transformers", postencoder_conf=conf)
    check_phase(tmp_path, data, config, "postencoder.1")
    assert decode(tmp_path / "phase")


@pytest.mark.slow
def test_a_phase_with_a_hugging_face_decoder(espnet, data, tmp_path):
    # ESPnet's tool takes the tokens for those of the model.
    bart = pretrained.hugging_face(tmp_path, "bart", size=len(tiny.TOKENS))
    conf = dict(model_name_or_path=bart)
    config = BASE | dict(decoder="hugging_face_transformers", decoder_conf=conf)
    check_phase(tmp_path, data, config | dict(model_conf=dict(ctc_weight=0.0)), "decoder")
    options = dict(hugging_face_decoder=True, hugging_face_decoder_conf=dict(num_beams=1))
    assert decode(tmp_path / "phase", **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conformer", "hugging_face_transformers"])
def test_a_phase_of_two_pass_understanding(kind, espnet, data, tmp_path):
    config = public.deliberation(tmp_path, kind)
    check_phase(tmp_path, data, config, "deliberation", task="slu", texts=["transcript"])
    assert decode(tmp_path / "phase", task="slu")
