#!/usr/bin/env python3
"""Training step time and peak memory.

Unfrozen, frozen by ESPnet's --freeze_param, and frozen by us, at three cuts.

  python3 benchmarks/freezing.py [--model rnn|transformer] [--pairs 10] [--steps 6]

Every measurement is a forked child with one thread, so that memory is its own; the ways are
interleaved within a pair and ratios are taken within it. Printed are medians and 95 % intervals of
the median over the pairs (binomial). Exit status 1 when ours is slower than ESPnet's own freezing
by an interval that excludes 1.02, or a middle cut is not faster than unfrozen training.
"""

import argparse
import json
import logging
import os
import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from espnet_topdown.training.freeze import freeze
from espnet_topdown.training.model_layers import order_of
from espnet_topdown.training.tasks import task_of

TOKENS = ["<blank>", "<unk>", *map(str, range(47)), "<sos/eos>"]
CONFIGS = {
    "rnn": {
        "encoder": "vgg_rnn",
        "encoder_conf": {"num_layers": 4, "hidden_size": 128, "output_size": 128},
        "decoder": "rnn",
        "decoder_conf": {
            "hidden_size": 128,
            "att_conf": {"atype": "location", "adim": 128, "aconv_chans": 4},
        },
    },
    "transformer": {
        "encoder": "transformer",
        "encoder_conf": {"num_blocks": 6, "output_size": 128, "linear_units": 512},
        "decoder": "transformer",
        "decoder_conf": {"num_blocks": 3, "linear_units": 512},
    },
}
CUTS = {
    "rnn": ("decoder", "encoder.2", "encoder.0"),
    "transformer": ("decoder", "encoder.3", "encoder.0"),
}
Model = torch.nn.Module


def build(name: str) -> Model:
    """A model of a size that people train on a CPU, without a frontend (80-dimensional features)."""
    task = task_of("asr")
    options = vars(task.get_parser().parse_args([])) | CONFIGS[name]
    options |= {
        "token_list": TOKENS,
        "input_size": 80,
        "normalize": None,
        "model_conf": {"ctc_weight": 0.3},
    }
    torch.manual_seed(0)
    return task.build_model(argparse.Namespace(**options))


def frozen_by_espnet(model: Model, cut: str) -> None:
    """As --freeze_param does.

    No gradient, nothing else (espnet2/tasks/abs_task.py, main_worker).
    """
    order = order_of(model)
    names = {t for layer in order.layers[order.index(cut) :] for t in layer.tensors}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in names)


def frozen_by_us(model: Model, cut: str) -> None:
    """As a phase does."""
    order = order_of(model)
    upper = order.layers[order.index(cut) :]
    freeze(
        model, order, {layer.name for layer in upper}, {t for layer in upper for t in layer.tensors}
    )


def steps(model: Model, count: int) -> float:
    """Seconds of `count` training steps on one batch (4 utterances of 200 frames, 12 tokens), after
    one to warm up.
    """
    optimiser = torch.optim.Adam(model.parameters())
    generator = torch.Generator().manual_seed(1)
    batch = {
        "speech": torch.randn(4, 200, 80, generator=generator),
        "speech_lengths": torch.full((4,), 200),
        "text": torch.randint(2, 49, (4, 12), generator=generator),
        "text_lengths": torch.full((4,), 12),
    }
    began = 0.0
    model.train()  # once, as ESPnet's trainer does at the start of an epoch
    for number in range(count + 1):
        if number == 1:
            began = time.perf_counter()
        model(**batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
    return time.perf_counter() - began


def measured(work: Callable[[], float]) -> tuple[float, float]:
    """(seconds, peak memory in MB) of `work` in a forked child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        seconds = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        os.write(write, json.dumps([seconds, peak]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        answer = stream.read()
    os.waitpid(pid, 0)
    seconds, peak = json.loads(answer)
    return seconds, peak


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and the order statistics that hold it with at least 95 % (binomial)."""
    ordered, count = np.sort(values), len(values)
    tail, chance = 0, 0.5**count
    while chance <= 0.025 and tail < count // 2:
        tail += 1
        chance += float(np.prod([(count - i) / (i + 1) for i in range(tail)])) * 0.5**count
    low = max(tail - 1, 0)
    return float(np.median(ordered)), float(ordered[low]), float(ordered[count - 1 - low])


def main() -> int:
    """Measure one model and print a line for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=CONFIGS, default="rnn")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    if args.pairs < 6:
        parser.error(f"--pairs {args.pairs}: an interval of 95 % needs 6 at least")
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # ESPnet warns at every forward pass
    warnings.simplefilter("ignore")
    ways: dict[str, Callable[[Model], None]] = {"unfrozen": lambda model: None}
    for cut in CUTS[args.model]:
        ways[f"{cut}, ESPnet"] = lambda model, cut=cut: frozen_by_espnet(model, cut)
        ways[f"{cut}, ours"] = lambda model, cut=cut: frozen_by_us(model, cut)

    def trial(prepare: Callable[[Model], None]) -> float:
        model = build(args.model)
        prepare(model)
        return steps(model, args.steps)

    results = {name: [] for name in ways}
    for pair in range(args.pairs):
        for name, prepare in list(ways.items())[
            :: -1 if pair % 2 else 1
        ]:  # neither way is always the first
            results[name].append(measured(lambda prepare=prepare: trial(prepare)))
    print(
        f"# {args.model}, {args.pairs} pairs of {args.steps} steps, one thread;"
        f" {platform.machine()}, {os.cpu_count()} CPUs,"
    )
    print(
        f"# espnet {version('espnet')}, torch {version('torch')}, Python"
        f" {platform.python_version()}"
    )
    return report(
        {name: np.array(values) for name, values in results.items()}, CUTS[args.model], args.steps
    )


def report(results: dict[str, np.ndarray], cuts: tuple[str, ...], count: int) -> int:
    """Print the table; 1 when a claim does not hold."""
    unfrozen, failed = results["unfrozen"][:, 0], False
    print(f"{'way':24} {'s/step':>8} {'peak MB':>8}  time against unfrozen   ours against ESPnet's")
    for name, values in results.items():
        ratio = "{:.3f} ({:.3f} to {:.3f})".format(*median_interval(values[:, 0] / unfrozen))
        line = (
            f"{name:24} {np.median(values[:, 0]) / count:8.4f} {np.median(values[:, 1]):8.0f} "
            f" {ratio}"
        )
        if name.endswith("ours"):
            middle, low, high = median_interval(
                values[:, 0] / results[name.replace("ours", "ESPnet")][:, 0]
            )
            line += f"   {middle:.3f} ({low:.3f} to {high:.3f})"
            failed |= low > 1.02
            failed |= (
                name.startswith(cuts[1]) and median_interval(values[:, 0] / unfrozen)[2] >= 1.0
            )
        print(line)
    print(
        "FAILED"
        if failed
        else "holds: not slower than ESPnet's freezing; a middle cut is faster than unfrozen"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
