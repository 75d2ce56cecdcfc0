#!/usr/bin/env python3
"""Wall time of a tiny phase against the same training by ESPnet's own --init_param and
--freeze_param.

  python3 benchmarks/phase.py [--pairs 10]
  python3 benchmarks/phase.py --profile      where the time of one such phase goes, in a new process
  and in a warm one

The data and models are those of the tests. Both ways run in forked children of one process that has
imported ESPnet, one thread, interleaved; the ratio is taken within each pair. Printed are the
medians, and the median ratio with its range.
"""

import argparse
import os
import platform
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tiny  # noqa: E402
import torch  # noqa: E402

from espnet_topdown.bin.train import main as train  # noqa: E402

CONFIG = tiny.asr_config("conformer", "transformer", max_epoch=4, keep_nbest_models=1)
FRESH = "encoder.embed,encoder.encoders.0"
FROZEN = ["encoder.encoders.1", "encoder.encoders.2", "encoder.after_norm", "decoder", "ctc"]

# What is added up in a profile: name, file, function.
PARTS = (
    ("all", "espnet2/tasks/abs_task.py", "main"),
    ("imports before it (a warm process has them)", "espnet_topdown/tasks.py", "<module>"),
    (
        "import of torch._dynamo by the first optimiser (a warm process has it)",
        "torch/_dynamo/__init__.py",
        "<module>",
    ),
    ("parent loaded, fresh layers drawn", "espnet_topdown/phase.py", "begin"),
    ("resume repaired", "espnet_topdown/checkpoint.py", "repair"),
    ("training", "espnet2/train/trainer.py", "train_one_epoch"),
    ("validation", "espnet2/train/trainer.py", "validate_one_epoch"),
    ("last complete checkpoint copied", "espnet_topdown/checkpoint.py", "keep_safe_copy"),
    ("models written by torch.save", "torch/serialization.py", "save"),
    ("proof, averages and files flushed to disk", "espnet_topdown/proof.py", "finish"),
)


def seconds(words: Sequence[str]) -> float:
    """Wall time of one training in a forked child."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        with open(os.devnull, "w") as silent:
            os.dup2(silent.fileno(), 1)
            os.dup2(silent.fileno(), 2)
        train(list(words))
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if status:
        sys.exit(f"a training ended with status {status}: {' '.join(words)}")
    return time.perf_counter() - began


def profile(words: Sequence[str]) -> None:
    """Prints the seconds of one training by part, imports included, from a new process under
    cProfile.
    """
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "cProfile",
            "-o",
            "profile",
            "-m",
            "espnet_topdown.bin.train",
            *words,
        ]
        subprocess.run(command, cwd=scratch, env=environment, check=True, capture_output=True)
        calls = pstats.Stats(f"{scratch}/profile").stats
    for name, file, function in PARTS:
        spent = sum(
            v[3]
            for (path, _, called), v in calls.items()
            if path.endswith(file) and called == function
        )
        print(f"{spent:8.3f} s  {name}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument(
        "--profile", action="store_true", help="where the time of one phase goes, instead"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = tiny.write_data(root / "data")
        seconds(tiny.command(data, root / "base", dict(CONFIG)))
        conf = dict(parent=str(root / "base"), cut="encoder.1")
        phase = CONFIG | dict(seed=1000, topdown_conf=conf)
        if options.profile:
            profile(tiny.command(data, root / "profiled", phase))
            return
        ours, stock, pairs = [], [], options.pairs
        for number in range(pairs):
            ours.append(seconds(tiny.command(data, root / f"o{number}", phase)))
            init = f"{root}/base/valid.acc.ave.pth:::{FRESH}"
            theirs = CONFIG | dict(seed=1000, init_param=[init], freeze_param=FROZEN)
            stock.append(seconds(tiny.command(data, root / f"s{number}", theirs)))
    ratios = [one / two for one, two in zip(ours, stock, strict=True)]
    print(
        f"# {pairs} pairs, one thread, {platform.machine()}, {os.cpu_count()} CPUs, load"
        f" {os.getloadavg()[0]:.1f}"
    )
    print(
        f"# espnet {version('espnet')}, torch {version('torch')}, Python"
        f" {platform.python_version()}"
    )
    print(f"ours {statistics.median(ours):.3f} s, ESPnet's own {statistics.median(stock):.3f} s")
    print(f"ratio: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
