"""Cascades through the real commands: what comes out is proved, repeatable, and survives a kill.

Sections of `gpu.py`. The tiny models and data are those of the tests.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import yaml
from measure import ROOT, say

from espnet_topdown.experiment.phase_dir import EPOCHS, LOCK
from espnet_topdown.warm.client import SOCKET

sys.path.insert(0, str(ROOT / "tests"))
import tiny  # noqa: E402  found by the line above

COMMON = dict(max_epoch=6, keep_nbest_models=2)
AMP = dict(use_amp=True)
RNN = tiny.asr_config("rnn", "rnn", **COMMON)
SEQ_RNN = tiny.lm_config("seq_rnn", **COMMON)
NO_DROPOUT = dict(lm_conf=SEQ_RNN["lm_conf"] | dict(dropout_rate=0.0))
TRANSFORMER = tiny.asr_config("transformer", "transformer", **COMMON)
# Model -> its config and the cuts of its two phases.
MODELS = {
    "rnn": (RNN, "decoder", "encoder.1"),
    "vgg_rnn": (tiny.asr_config("vgg_rnn", "rnn", **COMMON), "decoder", "encoder.1"),
    "conformer": (tiny.asr_config("conformer", "transformer", **COMMON), "decoder", "encoder.1"),
    "transformer": (TRANSFORMER, "decoder", "encoder.1"),
    "seq_rnn": (SEQ_RNN, "output", "rnn.1"),
    # cuDNN draws the dropout between layers of one nn.LSTM from a state of the process, which
    # nobody seeds: if that one alone differs after a kill, it is by this.
    "seq_rnn, no dropout": (SEQ_RNN | NO_DROPOUT, "output", "rnn.1"),
    "rnn, AMP": (RNN | AMP, "decoder", "encoder.1"),
    "transformer, AMP": (TRANSFORMER | AMP, "decoder", "encoder.1"),
}
CLI = [sys.executable, "-m", "espnet_topdown"]
WARM = [sys.executable, "-m", "espnet_topdown.warm"]


def run(options: argparse.Namespace) -> None:
    """All models side by side; a result for each."""
    work = options.out / "cascades"
    data = tiny.write_data(work / "data", 16)
    names = ["rnn"] if options.quick else list(MODELS)
    with _warm_process(work), ThreadPoolExecutor(len(names)) as pool:
        for name in names:
            pool.submit(
                _reported, options, name, work / name.replace(", ", "_").replace(" ", "_"), data
            )


def _reported(options: argparse.Namespace, name: str, work: Path, data: Path) -> None:
    try:
        result = _cascade(options, name, work, data)
    except Exception as error:
        result = {"ok": False, "reason": f"{type(error).__name__}: {error}"[-500:]}
    say(options.out, section="cascades", model=name, **result)


def _cascade(options: argparse.Namespace, name: str, work: Path, data: Path) -> dict[str, object]:
    """Base, cascade, `verify`, the cascade again, and once more with a kill in its first phase."""
    config, high, low = MODELS[name]
    ngpu = str(int(options.device == "cuda"))
    work.mkdir(parents=True)
    base = work / "base"
    _train(tiny.command(data, base, dict(config), "--ngpu", ngpu), work / "base.log", ngpu)
    plan = work / "plan.yaml"
    plan.write_text(f"phases: [{{cut: {high}}}, {{cut: {low}}}]\n")
    command = [*CLI, "run", str(base), "--plan", str(plan), "--ngpu", ngpu, "--threads", "1"]

    def into(directory: str) -> list[str]:
        return [*command, "--dir", str(work / directory)]

    _call(into("first"))
    _call([*CLI, "verify", str(work / "first")])
    killed = _kill(into("killed"), work / "killed" / "phase1", "3epoch.pth")
    _call(into("killed"))
    others = ["killed"]
    if not options.quick:
        _call(into("again"))
        others.append("again")
    differences = {}
    for other in others:
        gaps = [_difference(work / "first" / p, work / other / p) for p in ("phase1", "phase2")]
        differences[other] = max(gaps)
    return {
        "ok": killed and is_as_promised(differences, options.device),
        "killed_in_time": killed,
        "largest_difference": differences,
    }


def is_as_promised(differences: Mapping[str, float], device: str) -> bool:
    """Whether killed and repeated cascades differ from the first no more than they may.

    On a CPU with as many threads not at all. On a GPU a resumed training may differ only where one
    that nobody disturbed does: then the kernels add in another order each time.

    Args:
        differences: the largest of any weight, by run: ``killed``, and ``again`` where it was run.
        device: ``cpu`` or ``cuda``.
    """
    if not any(differences.values()):
        return True
    is_gpu = device == "cuda"
    return is_gpu and differences.get("again", 0.0) > 0.0


@contextlib.contextmanager
def _warm_process(work: Path) -> Iterator[None]:
    """Commands fork from one process, as in a recipe: an import of ESPnet can take 20 s."""
    os.environ[SOCKET] = str(work / "socket")
    command = [sys.executable, "-m", "espnet_topdown.warm.server", os.environ[SOCKET]]
    process = subprocess.Popen(command)
    try:
        while not (work / "socket").exists() and process.poll() is None:
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
        del os.environ[SOCKET]


def _train(words: Sequence[str], log: Path, ngpu: str) -> None:
    _call([*WARM, "--gpu", ngpu, str(log), "python3", "-m", "espnet_topdown.bin.train", *words])


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:6])}: {(done.stderr + done.stdout)[-400:]}")


def _kill(command: Sequence[str], phase: Path, file: str) -> bool:
    """SIGKILL to the runner and its trainer as soon as the phase has `file`; whether it had."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (phase / file).exists() and process.poll() is None:
        time.sleep(0.002)
    is_running = process.poll() is None
    process.kill()
    process.wait()
    # The trainer may have ended with its runner.
    with contextlib.suppress(OSError, ValueError):
        os.kill(json.loads((phase / LOCK).read_text())["pid"], signal.SIGKILL)
    return is_running


def _difference(one: Path, other: Path) -> float:
    """The largest difference of two trainings' last weights; 0.0 is bit-identical."""
    file = f"{COMMON['max_epoch']}epoch.pth"
    first, second = (torch.load(place / file, map_location="cpu") for place in (one, other))
    largest = 0.0
    for name, tensor in first.items():
        if tensor.numel():
            gap = (tensor.double() - second[name].double()).abs().max()
            largest = max(largest, float(gap))
    return largest


def full_size_phase(options: argparse.Namespace) -> None:
    """The full-size AWD-LSTM, with TF32 where there is any: an epoch of it and one of phase 1."""
    work = options.out / "awd_lstm"
    work.mkdir(parents=True)
    with _warm_process(work):
        _full_size_phase(options, work)


def _full_size_phase(options: argparse.Namespace, work: Path) -> None:
    text = options.wikitext2 or _random_text(work / "text", quick=options.quick)
    data = work / "data"
    prepare = [sys.executable, "-m", "espnet_topdown.lm.data"]
    _call([*prepare, "prepare", "--source", str(text), "--output", str(data)])
    tokens = data / "tokens.txt"
    _call([*prepare, "tokens", "--text", str(data / "train/text"), "--output", str(tokens)])
    config = yaml.safe_load((ROOT / "conf/lm/awd_lstm.yaml").read_text())
    config |= dict(max_epoch=1, use_tf32=options.device == "cuda")
    if options.quick:
        config["lm_conf"] |= dict(unit=8, nhid=16)
        config |= dict(batch_size=4, valid_batch_size=2, bptt_conf=dict(bptt=10))
    (work / "train.yaml").write_text(yaml.safe_dump(config))
    base = work / "base"
    ngpu = str(int(options.device == "cuda"))
    train = ["lm", "--config", str(work / "train.yaml"), "--output_dir", str(base)]
    train += ["--token_list", str(tokens), "--ngpu", ngpu]
    for part in ("train", "valid"):
        train += [f"--{part}_data_path_and_name_and_type", f"{data / part}/text,text,text"]
    began = time.monotonic()
    _train(train, work / "base.log", ngpu)
    say(options.out, section="phase", what="base", wall_s=round(time.monotonic() - began, 1))
    plan = work / "plan.yaml"
    plan.write_text("phases: [{cut: output}]\n")
    directory = work / "cascade"
    run = [*CLI, "run", str(base), "--plan", str(plan), "--dir", str(directory)]
    began = time.monotonic()
    _call([*run, "--ngpu", ngpu, "--threads", "1"])
    (epoch,) = json.loads((directory / "phase1" / EPOCHS).read_text())
    say(
        options.out,
        section="phase",
        what="phase 1, cut output",
        wall_s=round(time.monotonic() - began, 1),
        train_s=round(epoch["train"]["time"], 2),
        valid_s=round(epoch["valid"]["time"], 2),
        valid_loss=round(epoch["valid"]["loss"], 3),
        text="WikiText-2" if options.wikitext2 else "random words",
        ok=True,
    )


def _random_text(directory: Path, *, quick: bool) -> Path:
    """Three texts as large as WikiText-2's, words drawn as 1 / rank; its 1.e4 is among them."""
    words = 200 if quick else 33_276
    sizes = {"train": 4_000, "valid": 800, "test": 800}
    if not quick:
        sizes = {"train": 2_000_000, "valid": 210_000, "test": 240_000}
    weights = 1 / np.arange(1, words + 1)
    generator = np.random.default_rng(0)
    directory.mkdir(parents=True)
    for part, size in sizes.items():
        drawn = generator.choice(words, size=size, p=weights / weights.sum())
        # Every word once: each text has the whole vocabulary.
        ids = np.concatenate([np.arange(words), drawn])
        lines = [
            " ".join(f"{word}.e4" for word in row) for row in np.array_split(ids, len(ids) // 20)
        ]
        (directory / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return directory
