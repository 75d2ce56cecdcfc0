#!/usr/bin/env python3
"""Wall time of a tiny phase against the same training by ESPnet's --init_param and --freeze_param.

    python3 benchmarks/phase.py [--pairs 10]
    python3 benchmarks/phase.py --profile
    python3 benchmarks/phase.py --millions 120 300 [--pairs 3] [--scratch DIR]

Prints the median seconds of both ways, and the ratio within a pair, median and range. The data and
models are those of the tests; both run in forked children of one process that has imported ESPnet,
one thread, in turn. With --profile it prints where the time of one such phase goes, in a new
process. With --millions it prints what a phase adds for a model of so many million parameters,
beside what ESPnet's own save takes: medians and ranges; it needs 28 bytes of disk and 24 of memory
for each parameter.
"""

import argparse
import os
import pstats
import shutil
import statistics
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
from espnet_topdown.training import checkpoint, repair
from espnet_topdown.training.checkpoint import CHECKPOINT

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


def costs(millions: int, turns: int, directory: Path) -> Table:
    """Seconds of ESPnet's save of an epoch, and of what a phase adds, for a model trained by Adam.

    ESPnet saves in train/trainer.py, `Trainer.run`. A copy of the checkpoint and reading without a
    map are what a phase does not do.
    """
    shape = (1000, 1000)
    model = {f"layer{number}.weight": torch.randn(shape) for number in range(millions)}
    moments = {number: {"exp_avg": torch.randn(shape)} for number in range(millions)}
    for moment in moments.values():
        moment["exp_avg_sq"] = torch.rand(shape)
    whole = {"model": model, "optimizers": [{"state": moments}]}
    path, epoch = directory / CHECKPOINT, directory / "1epoch.pth"

    def save() -> None:
        torch.save(whole, path)
        torch.save(model, epoch)

    # In the order of an epoch, then what is done once a phase.
    parts = {
        "ESPnet's save: checkpoint and epoch file": save,
        "each epoch: the last checkpoint put aside": partial(repair.put_aside, directory),
        "(a copy of it instead)": partial(shutil.copyfile, directory / repair.SAFE, path),
        "once: the checkpoint loaded": partial(checkpoint.load, path),
        "(without a map)": partial(torch.load, path, map_location="cpu", weights_only=True),
        "(again, in the same process)": partial(checkpoint.load, path),
        "once: the base's epochs read from it": partial(checkpoint.load, path, tensors=False),
        "once: the model hashed": lambda: checkpoint.fingerprints(checkpoint.load(epoch)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    # The first turn has no earlier checkpoint to put aside over.
    for turn in range(turns + 1):
        for name, work in parts.items():
            began = time.perf_counter()
            work()
            if turn > 0:
                seconds[name].append(time.perf_counter() - began)
    own = statistics.median(seconds[next(iter(parts))])
    rows = []
    for name, times in seconds.items():
        ratio = f"{statistics.median(times) / own:.3f}"
        rows.append([name, median_and_range(times, 3), ratio])
    header = ("part", "seconds", "of ESPnet's save")
    return Table(heading=f"# {millions} million parameters", header=header, rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead")
    parser.add_argument("--millions", type=int, nargs="+", help="parameters of large models")
    parser.add_argument("--scratch", type=Path, help="where large models are written")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if options.millions:
        print(f"# {options.pairs} turns, one thread, {machine()}")
        for millions in options.millions:
            with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
                print(costs(millions, options.pairs, Path(scratch)).terminal(), flush=True)
        return
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
