"""Speed perturbation: named for sox, done without it, and heard as sox would have it."""

import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipes import RATE, tone, write_set

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import audio, datadir, speed
from espnet_topdown.text_files import read_table


def test_speed_is_done_without_sox_and_named_for_sox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = write_set(tmp_path / "data" / "train", {"a1": 1.0})
    datadir.write_table(train / "spk2utt", {"a": "a1"})
    assert speed.perturb(train, [0.9, 1.0, 1.1]) == tmp_path / "data" / "train_sp"
    table = read_table(tmp_path / "data" / "train_sp" / "wav.scp")
    assert list(table) == ["a1", "sp0.9-a1", "sp1.1-a1"]
    assert table["sp1.1-a1"] == f"sox {train}/a1.wav -t wav - speed 1.1 |"
    owners = read_table(tmp_path / "data" / "train_sp" / "utt2spk")
    assert owners == {"a1": "a", "sp0.9-a1": "sp0.9-a", "sp1.1-a1": "sp1.1-a"}
    monkeypatch.setenv("PATH", "/nowhere")
    samples, rate = audio.read_audio(table["sp1.1-a1"])
    assert rate == RATE
    assert abs(len(samples) - RATE / 1.1) <= 1
    # 440 Hz times 1.1.
    assert abs(np.abs(np.fft.rfft(samples, RATE)).argmax() - 484) <= 1


@pytest.mark.parametrize("folder", ["two words", "its_(new)", "it's"])
def test_paths_that_a_shell_would_part_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    train = write_set(tmp_path / folder / "train", {"a1": 1.0})
    speed.perturb(train, [1.1])
    faster = read_table(tmp_path / folder / "train_sp" / "wav.scp")["sp1.1-a1"]
    assert shlex.split(faster)[:2] == ["sox", f"{train}/a1.wav"]
    monkeypatch.setenv("PATH", "/nowhere")
    samples, _ = audio.read_audio(audio.faster(faster, 0.5))
    assert abs(len(samples) - RATE / 0.55) <= 2


def test_segments_keep_their_place_in_the_faster_recording(tmp_path: Path) -> None:
    train = write_set(tmp_path / "train", {"rec": 1.0})
    datadir.write_table(train / "segments", {"r1": "rec 0.22 0.55", "r2": "rec 0.9 -1"})
    for name in ("utt2spk", "text"):
        datadir.write_table(train / name, {"r1": "r", "r2": "r"})
    speed.perturb(train, [1.1])
    assert read_table(tmp_path / "train_sp1.1" / "segments") == {
        "sp1.1-r1": "sp1.1-rec 0.200000 0.500000",
        "sp1.1-r2": "sp1.1-rec 0.818182 -1",
    }
    datadir.write_table(train / "segments", {"r1": "rec 0.22", "r2": "rec 0.9 -1"})
    with pytest.raises(TopdownError, match="r1: expected RECORDING START END, found 'rec 0.22'"):
        speed.perturb(train, [1.1])


def test_segments_of_an_earlier_preparation_are_cut_no_more(tmp_path: Path) -> None:
    train = write_set(tmp_path / "train", {"r1": 1.0})
    datadir.write_table(train / "segments", {"r1": "r1 0.2 0.5"})
    speed.perturb(train, [1.0, 1.1])
    assert (tmp_path / "train_sp" / "segments").exists()
    (train / "segments").unlink()
    speed.perturb(train, [1.0, 1.1])
    for name in ("train_sp", "train_sp1.1"):
        assert not (tmp_path / name / "segments").exists()


@pytest.mark.parametrize("factors", [[], [0.9, 0.0], [-1.0], [1e9], [float("nan")], [0.9, 0.9]])
def test_speeds_that_are_none_are_refused(tmp_path: Path, factors: list[float]) -> None:
    train = write_set(tmp_path / "train", {"r1": 0.1})
    with pytest.raises(TopdownError, match="asked for the speeds '.*--speed_perturb_factors"):
        speed.perturb(train, factors)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is the second route")
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_agrees_with_sox(tmp_path: Path, factor: float) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE)
    command = audio.faster(str(tmp_path / "a.wav"), factor)
    by_sox = ["bash", "-c", command.rstrip("|")]
    wav = subprocess.run(by_sox, stdout=subprocess.PIPE, check=True).stdout
    samples, _ = audio.read_audio(command)
    reference = np.frombuffer(wav[-2 * len(samples) :], np.int16)
    middle = slice(len(samples) // 4, len(samples) // 2)
    assert np.abs(samples[middle].astype(int) - reference[middle]).max() < 200  # of 8000
