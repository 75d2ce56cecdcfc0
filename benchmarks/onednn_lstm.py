#!/usr/bin/env python3
"""Time of a training step with the encoder's LSTM layers by PyTorch and by oneDNN, on a CPU.

    python3 benchmarks/onednn_lstm.py [--units 64] [--pairs 10] [--steps 3]

A BLSTM of four layers with projections and an attention decoder, a batch of 4 utterances of 200
frames. Prints seconds a step (medians over the pairs) and the ratio of oneDNN's to PyTorch's
(median and 95 % interval over the pairs). Every measurement is a forked child with one thread; the
two take turns. Exit status 1 when oneDNN is not faster.
"""

import argparse
import os
from collections.abc import Sequence
from functools import partial

import numpy as np
from freezing import CONFIGS, build, median_interval, options_of_steps, seconds_of_steps
from measure import in_child, interleaved, machine

from espnet_topdown.training import onednn_lstm
from espnet_topdown.warm import LSTM


def seconds_a_step(units: int, steps: int, kind: str, pair: int) -> float:
    """Of a model whose LSTM layers compute as the environment's `kind` says."""

    def work() -> float:
        os.environ[LSTM] = kind
        sizes = {"num_layers": 4, "hidden_size": units, "output_size": units}
        model = build({**CONFIGS["rnn"], "encoder": "rnn", "encoder_conf": sizes})
        onednn_lstm.use(model)
        return seconds_of_steps(model, steps)

    return in_child(work)[0] / steps


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and fail where oneDNN is not faster."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=64, help="of each layer and direction")
    options = options_of_steps(parser, argv, steps=3)
    kinds = {"PyTorch": "", "oneDNN": "onednn"}
    measured = partial(seconds_a_step, options.units, options.steps)
    ways = {name: partial(measured, kind) for name, kind in kinds.items()}
    times = {name: np.array(runs) for name, runs in interleaved(ways, options.pairs).items()}
    middle, low, high = median_interval(times["oneDNN"] / times["PyTorch"])
    print(f"# {options.units} units, {options.pairs} pairs of {options.steps} steps, one thread")
    print(f"# {machine()}")
    for name, values in times.items():
        print(f"{name}: {np.median(values):.4f} s a step")
    print(f"oneDNN / PyTorch: {middle:.3f} ({low:.3f} to {high:.3f})")
    if high >= 1.0:
        raise SystemExit("FAILED: oneDNN is not faster")


if __name__ == "__main__":
    main()
