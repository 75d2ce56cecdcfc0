"""Data directories of tones, and the recipe scripts as users call them."""

import subprocess
from pathlib import Path

import numpy as np
import soundfile

from espnet_topdown.recipe import datadir

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = REPOSITORY / "egs2" / "TEMPLATE" / "asr1"
SETS = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "dev test"]
RATE = 8000


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    """int16 samples, shape (samples,), of a quarter of full scale."""
    time_s = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time_s)).astype(np.int16)


def write_set(root: Path, lengths: dict[str, float], words: str = "A BC") -> Path:
    """A data directory of tones; speakers are the ids' first letters.

    Args:
        root: the directory.
        lengths: utterance -> seconds.
        words: what all of them say.
    """
    root.mkdir(parents=True)
    for utterance, seconds in lengths.items():
        soundfile.write(root / f"{utterance}.wav", tone(seconds), RATE, subtype="PCM_16")
    datadir.write_table(root / "wav.scp", {u: root / f"{u}.wav" for u in lengths})
    datadir.write_table(root / "utt2spk", {u: u[0] for u in lengths})
    datadir.write_table(root / "text", dict.fromkeys(lengths, words))
    return root


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A script of TEMPLATE, called from a recipe directory."""
    command = [f"../../TEMPLATE/asr1/{script}", *options]
    return subprocess.run(command, capture_output=True, text=True)


def refused(script: str, *options: str) -> str:
    """What a refused command said: one message, no traceback."""
    done = run(script, *options)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr
