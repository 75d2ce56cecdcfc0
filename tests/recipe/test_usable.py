"""Stage 4 leaves out what training cannot use, and names it."""

from pathlib import Path

import pytest
import torch
import yaml

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, frames, usable
from espnet_topdown.recipe.__main__ import main


def write_formatted(directory: Path, samples: dict[str, int], text: dict[str, str]) -> Path:
    """A set as stage 3 leaves it, without the audio."""
    datadir.write_table(directory / "utt2num_samples", samples)
    datadir.write_table(directory / "text", text)
    datadir.write_table(directory / "utt2spk", {utterance: utterance[0] for utterance in samples})
    datadir.write_table(directory / "wav.scp", {u: f"{u}.flac" for u in samples})
    return directory


def test_bounds_are_exclusive_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    samples = {"a1": 800, "a2": 1600, "b1": 2400, "b2": 3200}
    source = write_formatted(tmp_path / "f", samples, {"a1": "A", "a2": "", "b1": "B", "b2": "C"})
    target = tmp_path / "k"
    bounds = {"rate": 8000, "shortest_s": 0.1, "longest_s": 0.4}
    said = usable.keep_usable(source, target, **bounds)
    assert said.splitlines() == [
        f"{source}: 4 utterances, 1 too short, 1 too long, 1 without text: 1 kept",
        "  too short: a1 (0.10 s)",
        "  too long: b2 (0.40 s)",
        "  without text: a2 (0.20 s)",
        f"  all of them: {target}/dropped",
    ]
    written = {path.name: path.read_text() for path in target.iterdir()}
    assert written == {
        "dropped": "a1 too short 0.10 s\na2 without text 0.20 s\nb2 too long 0.40 s\n",
        "feats_type": "raw\n",
        "spk2utt": "b b1\n",
        "text": "b1 B\n",
        "utt2num_samples": "b1 2400\n",
        "utt2spk": "b1 b\n",
        "wav.scp": "b1 b1.flac\n",
    }
    with pytest.raises(TopdownError, match="none is left; see --min_wav_duration(.|\n)*/n/dropped"):
        usable.keep_usable(source, tmp_path / "n", rate=8000, shortest_s=1, longest_s=2)
    assert len((tmp_path / "n" / "dropped").read_text().splitlines()) == 4


def test_of_many_the_first_are_named_and_the_file_has_all(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(9)]
    samples = dict.fromkeys(names, 8) | {"b": 8000}
    source = write_formatted(tmp_path / "f", samples, dict.fromkeys(samples, "A"))
    said = usable.keep_usable(source, tmp_path / "k", rate=8000, shortest_s=0.1, longest_s=9)
    assert "a3 (0.00 s), a4 (0.00 s), ...\n" in said
    assert "a5" not in said
    dropped = (tmp_path / "k" / "dropped").read_text().splitlines()
    assert [line.split()[0] for line in dropped] == names


def test_nothing_left_out_is_an_empty_list(tmp_path: Path) -> None:
    source = write_formatted(tmp_path / "f", {"a1": 8000}, {"a1": "A"})
    said = usable.keep_usable(source, tmp_path / "k", rate=8000, shortest_s=0.1, longest_s=9)
    assert said.endswith("0 without text: 1 kept")
    assert (tmp_path / "k" / "dropped").read_text() == ""


CONFIGS = {
    "encoder: transformer": (7, 6 * 128),
    "encoder: conformer\nfrontend_conf: {hop_length: 160}": (7, 6 * 160),
    "encoder: e_branchformer\nencoder_conf: {input_layer: conv2d6}": (11, 10 * 128),
    "encoder: transformer\nencoder_conf: {input_layer: linear}": None,
    "encoder: vgg_rnn": None,
    "encoder: transformer\nfrontend: s3prl": None,
}


@pytest.mark.parametrize("config", CONFIGS)
def test_what_an_encoder_needs_is_in_its_config(tmp_path: Path, config: str) -> None:
    (tmp_path / "train.yaml").write_text(config)
    assert frames.shortest_of(tmp_path / "train.yaml") == CONFIGS[config]


def test_what_is_kept_and_too_short_for_the_encoder_is_named_with_the_cure(tmp_path: Path) -> None:
    samples = {"a1": 1279, "a2": 1280, "b1": 2400}
    source = write_formatted(tmp_path / "f", samples, dict.fromkeys(samples, "A"))
    bounds = {"rate": 8000, "longest_s": 20.0, "needed": frames.Shortest(11, 1280)}
    said = usable.keep_usable(source, tmp_path / "k", shortest_s=0.1, **bounds)
    assert said.splitlines()[1] == (
        "  note: 1 of those kept have fewer than 11 frames; a batch of such ends the training with"
        " ESPnet's TooShortUttError: a1 (0.16 s); --min_wav_duration 0.15994 leaves them out"
    )
    # As it advises.
    said = usable.keep_usable(source, tmp_path / "k", shortest_s=0.15994, **bounds)
    assert "note" not in said
    assert (tmp_path / "k" / "dropped").read_text() == "a1 too short 0.16 s\n"


def test_espnets_encoder_needs_as_many_frames(espnet: None) -> None:
    from espnet2.asr.encoder.transformer_encoder import TooShortUttError, TransformerEncoder

    for layer, needed in frames._FRAMES.items():
        if not layer.startswith("conv2d"):
            continue
        encoder = TransformerEncoder(40, output_size=4, num_blocks=1, input_layer=layer)
        encoder(torch.zeros(1, needed, 40), torch.tensor([needed]))
        with pytest.raises(TooShortUttError):
            encoder(torch.zeros(1, needed - 1, 40), torch.tensor([needed - 1]))


FRONTENDS = {
    "encoder: vgg_rnn": 257,
    "frontend_conf: {n_fft: 400, hop_length: 160}": 201,
    "frontend_conf: {n_fft: 256, center: false}": 256,
    "{frontend: s3prl, encoder: transformer}": 1,
}


@pytest.mark.parametrize("config", FRONTENDS)
def test_espnets_frontend_needs_as_many_samples(
    tmp_path: Path, config: str, espnet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """One test utterance of fewer ended a decoding."""
    from espnet2.asr.frontend.default import DefaultFrontend

    options = yaml.safe_load(config)
    path, least = tmp_path / "train.yaml", FRONTENDS[config]
    path.write_text(config)
    assert frames.least_samples(path) == least
    if "frontend" not in options:
        frontend = DefaultFrontend(fs=8000, **options.get("frontend_conf", {}))
        frontend(torch.zeros(1, least), torch.tensor([least]))
        with pytest.raises(RuntimeError):
            frontend(torch.zeros(1, least - 1), torch.tensor([least - 1]))
    lengths = {"a1": least, "a2": least - 1, "a3": 8000}
    data = write_formatted(tmp_path / "test", lengths, dict.fromkeys(lengths, "A"))
    words = ["lengths", str(path), "--data"]
    with pytest.raises(SystemExit):
        main([*words, str(data)])
    error = capsys.readouterr().err
    assert f"{data} has utterances of fewer than {least} samples" in error
    assert error.splitlines()[1:] == [f"  a2: {least - 1}"]
    whole = write_formatted(tmp_path / "whole", {"a1": least}, {"a1": "A"})
    # What another program has formatted tells no lengths.
    main([*words, f"{whole} {tmp_path}"])


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "long"])
def test_a_bound_that_is_no_time_is_refused(bound: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["filter", "dump", "--sets", "x", "--fs", "8k", "--lm_train_text", "t"]
    with pytest.raises(SystemExit):
        main([*words, f"--min_wav_duration={bound}", "--max_wav_duration", "20"])
    assert "--min_wav_duration" in capsys.readouterr().err
