#!/usr/bin/env python3
"""Wall time of a tiny phase against the same training by ESPnet's --init_param and --freeze_param.

    python3 benchmarks/phase.py [--pairs 10]
    python3 benchmarks/phase.py --profile

Prints the median seconds of both ways, and the ratio within a pair, median and range. The data and
models are those of the tests; both run in forked children of one process that has imported ESPnet,
one thread, in turn. With --profile it prints where the time of one such phase goes, in a new
process.
"""

import argparse
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from measure import ROOT, in_child, interleaved, machine, median_and_range

from espnet_topdown.bin.train import main as train
from espnet_topdown.table import Table

sys.path.insert(0, str(ROOT / "tests"))
import tiny  # noqa: E402  found by the line above

CONFIG = tiny.asr_config("conformer", "transformer", max_epoch=4, keep_nbest_models=1)
CUT = "encoder.1"
# What a phase at that cut draws and freezes, as ESPnet's own options name it.
FRESH = "encoder.embed,encoder.encoders.0"
FROZEN = ["encoder.encoders.1", "encoder.encoders.2", "encoder.after_norm", "decoder", "ctc"]

# What is added up in a profile: name, end of the file's path, function. A warm process has both
# imports.
PARTS = (
    ("all", "espnet2/tasks/abs_task.py", "main"),
    ("imports before it", "espnet_topdown/training/tasks.py", "<module>"),
    ("torch._dynamo, by the first optimiser", "torch/_dynamo/__init__.py", "<module>"),
    ("parent loaded, fresh layers drawn", "espnet_topdown/training/phase_start.py", "begin"),
    ("resume repaired", "espnet_topdown/training/repair.py", "repair"),
    ("training", "espnet2/train/trainer.py", "train_one_epoch"),
    ("validation", "espnet2/train/trainer.py", "validate_one_epoch"),
    ("last checkpoint put aside", "espnet_topdown/training/repair.py", "put_aside"),
    ("models written by torch.save", "torch/serialization.py", "save"),
    ("proof, averages, files flushed", "espnet_topdown/training/phase_end.py", "finish"),
)


def seconds_of(words: Sequence[str]) -> float:
    """Wall time of one training; its output is thrown away."""
    with open(os.devnull, "w") as silent:
        os.dup2(silent.fileno(), sys.stdout.fileno())
        os.dup2(silent.fileno(), sys.stderr.fileno())
    began = time.perf_counter()
    train(list(words))
    return time.perf_counter() - began


def profile(words: Sequence[str]) -> Table:
    """The seconds of one training by part, imports included, in a new process under cProfile."""
    path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "cProfile", "-o", "profile"]
        command += ["-m", "espnet_topdown.bin.train", *words]
        environment = os.environ | {"PYTHONPATH": path}
        subprocess.run(command, cwd=scratch, env=environment, check=True, capture_output=True)
        calls = pstats.Stats(f"{scratch}/profile").stats
    rows = []
    for name, file, function in PARTS:
        spent = []
        for (path, _, called), (_, _, _, cumulative_s, _) in calls.items():
            if path.endswith(file) and called == function:
                spent.append(cumulative_s)
        if not spent:
            raise SystemExit(f"{file} has no function {function} any more: mend PARTS")
        rows.append([f"{sum(spent):.3f}", name])
    return Table(heading="# One phase", header=("seconds", "part"), rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the parent, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = tiny.write_data(root / "data")
        base = root / "base"
        in_child(partial(seconds_of, tiny.command(data, base, dict(CONFIG))))
        phase = CONFIG | dict(seed=1000, topdown_conf=dict(parent=str(base), cut=CUT))
        if options.profile:
            print(profile(tiny.command(data, root / "profiled", phase)).terminal())
            return
        init = f"{base}/valid.acc.ave.pth:::{FRESH}"
        stock = CONFIG | dict(seed=1000, init_param=[init], freeze_param=FROZEN)

        def trial(name: str, config: dict[str, object], pair: int) -> float:
            words = tiny.command(data, root / f"{name}{pair}", config)
            seconds, _ = in_child(partial(seconds_of, words))
            return seconds

        ways = {"ours": partial(trial, "ours", phase), "stock": partial(trial, "stock", stock)}
        seconds = interleaved(ways, options.pairs)
    ratios = [ours / stock for ours, stock in zip(seconds["ours"], seconds["stock"], strict=True)]
    print(f"# {options.pairs} pairs, one thread, {machine()}")
    print(f"ours:          {median_and_range(seconds['ours'], 3)} s")
    print(f"ESPnet's own:  {median_and_range(seconds['stock'], 3)} s")
    print(f"ratio:         {median_and_range(ratios, 3)}")


if __name__ == "__main__":
    main()
