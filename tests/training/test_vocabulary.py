"""Phases over another vocabulary than their parent's: what is kept, and what is refused."""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tiny
import yaml

from espnet_topdown.training.checkpoint import load_state

PARTS = ("train", "valid")


@pytest.fixture(scope="module")
def characters(espnet, data, tmp_path_factory) -> Path:
    """A parent over characters."""
    from espnet_topdown.bin.train import main

    directory = tmp_path_factory.mktemp("characters") / "exp"
    main(tiny.command(data, directory, tiny.asr_config("transformer", "transformer")))
    return directory


@pytest.fixture(scope="module")
def pieces(data, tmp_path_factory) -> Path:
    """A BPE token list of the texts as asr.sh writes it, with its model beside it."""
    directory = tmp_path_factory.mktemp("token_list") / "bpe_unigram12"
    directory.mkdir()
    texts = directory / "texts"
    lines = [line for part in PARTS for line in (data / part / "text").read_text().splitlines()]
    texts.write_text("".join(f"{line.split()[1]}\n" for line in lines))
    sentencepiece.SentencePieceTrainer.Train(
        input=str(texts), model_prefix=str(directory / "bpe"), vocab_size=12, minloglevel=2
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(directory / "bpe.model"))
    learnt = [model.IdToPiece(number) for number in range(3, len(model))]
    tokens = ["<blank>", "<unk>", *learnt, "<sos/eos>"]
    (directory / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens))
    return directory / "tokens.txt"


def bpe_phase(parent: Path, pieces: Path, **conf: object) -> dict[str, object]:
    changes = {
        "token_type": "bpe",
        "bpemodel": str(pieces.with_name("bpe.model")),
        "seed": 1000,
        "topdown_conf": {"parent": str(parent), "cut": "decoder", "tokens": str(pieces), **conf},
    }
    return tiny.asr_config("transformer", "transformer", **changes)


def test_the_encoder_of_a_character_model_is_kept_under_bpe(characters, pieces, train, tmp_path):
    phase = train(
        tmp_path / "bpe",
        bpe_phase(characters, pieces, kind="bottom_up"),
        *("--token_list", str(pieces)),
    )
    parent = load_state(characters / "valid.acc.ave.pth")
    own = load_state(phase / "2epoch.pth")
    for name in own:
        if name.startswith("encoder."):
            assert own[name].equal(parent[name])
    size = len(pieces.read_text().splitlines())
    assert size != len(tiny.TOKENS)
    assert own["ctc.ctc_lo.weight"].shape[0] == size
    config = yaml.safe_load((phase / "config.yaml").read_text())
    assert config["token_list"] == pieces.read_text().splitlines()
    proof = json.loads((phase / "topdown" / "proof.json").read_text())
    assert {name.split(".")[0] for name in proof["frozen"]} == {"encoder"}


REFUSED = {
    "the classifier": (dict(), "do: decoder.embed.0.weight, decoder.output_layer.weight"),
    "all of it": (dict(kind="continue", cut=None), "decoder.output_layer.weight"),
    "unsaid": (dict(kind="bottom_up", tokens=None), "name the new list as tokens"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_depends_on_the_vocabulary_is_not_kept(
    name, characters, pieces, train, tmp_path, capsys
):
    conf, said = REFUSED[name]
    with pytest.raises(SystemExit):
        train(
            tmp_path / "bpe",
            bpe_phase(characters, pieces, **conf),
            *("--token_list", str(pieces)),
        )
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "bpe").glob("*.pth"))


def test_another_list_of_the_same_size_is_another_vocabulary(
    characters, data, train, tmp_path, capsys
):
    """Only names tell it apart: all tensors have the parent's shapes."""
    tokens = tmp_path / "tokens.txt"
    mixed = [*tiny.TOKENS[:2], *reversed(tiny.TOKENS[2:-1]), tiny.TOKENS[-1]]
    tokens.write_text("".join(f"{token}\n" for token in mixed))
    conf = {"parent": str(characters), "tokens": str(tokens), "kind": "continue"}
    config = tiny.asr_config("transformer", "transformer", seed=1000, topdown_conf=conf)
    with pytest.raises(SystemExit):
        train(tmp_path / "p", config, "--token_list", str(tokens))
    assert "these do: decoder.embed.0.weight" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(tmp_path / "p", config)
    said = capsys.readouterr().err
    assert f"topdown_conf names the token list {tokens}, and this training has another" in said


def test_a_model_is_built_once_more_without_a_trace(espnet) -> None:
    import torch
    from models import build

    from espnet_topdown.training import vocabulary
    from espnet_topdown.training.tasks import task_of

    config = tiny.asr_config("rnn", "rnn")
    defaults = vars(task_of("asr").get_parser().parse_args([])) | {"token_list": tiny.TOKENS}
    options = argparse.Namespace(**defaults | config)
    model = build("asr", config)
    states = [random.getstate(), torch.get_rng_state().tolist(), str(np.random.get_state())]
    larger = vocabulary.grown(task_of("asr").build_model, options)
    assert states == [random.getstate(), torch.get_rng_state().tolist(), str(np.random.get_state())]
    assert options.token_list == tiny.TOKENS
    assert vocabulary.dependent(model, larger) == {
        "decoder.embed.weight": 8,
        "decoder.output.weight": 8,
        "decoder.output.bias": 1,
        "ctc.ctc_lo.weight": 8,
        "ctc.ctc_lo.bias": 1,
    }
