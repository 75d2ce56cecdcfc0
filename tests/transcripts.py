"""Made-up decoding results for the tests of scoring, comparison and tables."""

import random
import shutil
from pathlib import Path

import pytest

from espnet_topdown.results.scoring import write_trn

INFERENCE = "inference_asr_model_valid.acc.ave"
SCTK = Path("/usr/lib/sctk/bin")  # where Debian puts it

Rows = list[tuple[str, str, list[str]]]


def sctk(program: str) -> str:
    """Path of an sctk program; skips the test where it is missing."""
    found = shutil.which(program) or shutil.which(program, path=SCTK)
    if not found:
        pytest.skip(f"{program} is missing: not on PATH and not in {SCTK} (Debian package sctk)")
    return found


def reference(seed: int, *, utterances: int, words: int, speakers: int) -> Rows:
    """Random sentences of 0 to 14 words; few different words make many ties."""
    draw = random.Random(seed)
    sizes = [draw.randint(0, 14) for _ in range(utterances)]
    return [
        (
            f"s{k % speakers}-u{k:04d}",
            f"s{k % speakers}",
            [f"w{draw.randrange(words)}" for _ in range(size)],
        )
        for k, size in enumerate(sizes)
    ]


def garbled(rows: Rows, seed: int, *, share: float, words: int) -> Rows:
    """The same with about `share` of the words deleted, as many replaced, and half as many put in."""
    draw = random.Random(seed)

    def heard(word: str) -> list[str]:
        chance = draw.random()
        first = (
            []
            if chance < share
            else [f"w{draw.randrange(words)}"]
            if chance < 2 * share
            else [word]
        )
        return first + ([f"w{draw.randrange(words)}"] if draw.random() < share / 2 else [])

    return [
        (name, speaker, [new for word in tokens for new in heard(word)])
        for name, speaker, tokens in rows
    ]


def write_scored(exp: Path, dataset: str, ref: Rows, hyp: Rows) -> None:
    """score_wer and score_cer of one decoded set."""
    for metric, tokens in (("wer", list), ("cer", lambda words: list("_".join(words)))):
        folder = exp / INFERENCE / dataset / f"score_{metric}"
        for name, rows in (("ref", ref), ("hyp", hyp)):
            write_trn(
                folder / f"{name}.trn", [(utt, spk, tokens(words)) for utt, spk, words in rows]
            )
