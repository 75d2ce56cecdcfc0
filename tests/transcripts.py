"""Made-up transcripts for the tests of scoring and of what is built on it."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from espnet_topdown.results.scoring import Pair, read_pairs
from espnet_topdown.results.trn import write_trn

INFERENCE = "inference_asr_model_valid.acc.ave"
SCTK = Path("/usr/lib/sctk/bin")  # where Debian puts it

Rows = list[tuple[str, str, list[str]]]

# What is in them -> seed, number of different words, share of words deleted.
RANDOM_TEXTS = {
    "many ties": (1, 4, 0.2),
    "many errors": (2, 60, 0.1),
    "few errors": (3, 12, 0.04),
}


def sctk(program: str) -> str:
    """Path of an sctk program; skips the test where it is missing."""
    path = shutil.which(program) or shutil.which(program, path=SCTK)
    if not path:
        pytest.skip(f"{program} is missing: not on PATH and not in {SCTK} (Debian package sctk)")
    return path


def sclite(folder: Path, hypotheses: tuple[str, ...], *reports: str) -> None:
    """Score trn files of `folder` against its ref.trn; the reports are left beside them."""
    command = [sctk("sclite"), "-i", "rm", "-O", ".", "-r", "ref.trn", "trn"]
    for name in hypotheses:
        command += ["-h", name, "trn"]
    command += ["-o", *reports]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def reference(seed: int, *, utterances: int, words: int, speakers: int) -> Rows:
    """Random sentences of 0 to 14 words; few different words make many ties."""
    draw = random.Random(seed)
    sizes = [draw.randint(0, 14) for _ in range(utterances)]
    rows = []
    for k, size in enumerate(sizes):
        speaker = f"s{k % speakers}"
        said = [f"w{draw.randrange(words)}" for _ in range(size)]
        rows.append((f"{speaker}-u{k:04d}", speaker, said))
    return rows


def garbled(rows: Rows, seed: int, *, share: float, words: int) -> Rows:
    """The same with about `share` of the words deleted, as many replaced, half as many put in."""
    draw = random.Random(seed)

    def other() -> str:
        return f"w{draw.randrange(words)}"

    garbled_rows = []
    for name, speaker, tokens in rows:
        heard = []
        for word in tokens:
            chance = draw.random()
            if chance >= 2 * share:
                heard.append(word)
            elif chance >= share:
                heard.append(other())
            if draw.random() < share / 2:
                heard.append(other())
        garbled_rows.append((name, speaker, heard))
    return garbled_rows


def random_texts(name: str) -> tuple[Rows, Rows]:
    """400 references, empty ones among them, and what was heard, by a name in `RANDOM_TEXTS`."""
    seed, words, share = RANDOM_TEXTS[name]
    ref = reference(seed, utterances=400, words=words, speakers=7)
    return ref, garbled(ref, seed + 1, share=share, words=words)


def pairs_of(folder: Path, ref: Rows, hyp: Rows) -> list[Pair]:
    """Pairs as read from ref.trn and hyp.trn, which are written into `folder`."""
    write_trn(folder / "ref.trn", ref)
    write_trn(folder / "hyp.trn", hyp)
    return read_pairs(folder / "ref.trn", folder / "hyp.trn")


def write_scored(
    exp: Path, dataset: str, ref: Rows, hyp: Rows, *, inference: str = INFERENCE
) -> None:
    """score_wer and score_cer of one decoded set."""
    scored = exp / inference / dataset
    for name, rows in (("ref.trn", ref), ("hyp.trn", hyp)):
        characters = [(utt, spk, list("_".join(words))) for utt, spk, words in rows]
        write_trn(scored / "score_wer" / name, rows)
        write_trn(scored / "score_cer" / name, characters)
