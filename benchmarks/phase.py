#!/usr/bin/env python3
"""Wall time of a tiny phase against the same training by ESPnet's own --init_param and --freeze_param.

  python3 benchmarks/phase.py [--pairs 10]

The data and models are those of the tests. Both ways run in forked children of one process that has imported ESPnet, one
thread, interleaved; the ratio is taken within each pair. Printed are the medians, and the median ratio with its range.
"""

import argparse
import os
import platform
import statistics
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = tiny.write_data(root / "data")
        seconds(tiny.command(data, root / "base", dict(CONFIG)))
        ours, stock = [], []
        for number in range(pairs):
            conf = dict(parent=str(root / "base"), cut="encoder.1")
            ours.append(seconds(tiny.command(data, root / f"o{number}", CONFIG | dict(seed=1000, topdown_conf=conf))))
            init = f"{root}/base/valid.acc.ave.pth:::{FRESH}"
            options = dict(seed=1000, init_param=[init], freeze_param=FROZEN)
            stock.append(seconds(tiny.command(data, root / f"s{number}", CONFIG | options)))
    ratios = [one / two for one, two in zip(ours, stock, strict=True)]
    print(f"# {pairs} pairs, one thread, {platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(f"# espnet {version('espnet')}, torch {version('torch')}, Python {platform.python_version()}")
    print(f"ours {statistics.median(ours):.3f} s, ESPnet's own {statistics.median(stock):.3f} s")
    print(f"ratio: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
