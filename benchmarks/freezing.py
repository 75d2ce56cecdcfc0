#!/usr/bin/env python3
"""Time and peak memory of a training step: unfrozen, frozen by ESPnet's --freeze_param, and by us.

    python3 benchmarks/freezing.py [--model rnn|transformer] [--pairs 10] [--steps 6]

Prints a row for each way and cut: seconds a step and peak memory (medians over the pairs), the time
against unfrozen training and against ESPnet's freezing (median and 95 % interval over the pairs).
Every measurement is a forked child with one thread; the ways take turns within a pair. Exit status
1 when ours is slower than ESPnet's own freezing by an interval that excludes 1.02, or a middle cut
is not faster than unfrozen training.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from measure import in_child, interleaved, machine
from scipy.stats import binom

from espnet_topdown.plan.layer_names import cut_index
from espnet_topdown.table import Table
from espnet_topdown.training.freeze import freeze
from espnet_topdown.training.model_layers import order_of
from espnet_topdown.training.tasks import task_of

TOKENS = ["<blank>", "<unk>", *map(str, range(47)), "<sos/eos>"]
# Of a size that people train on a CPU.
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
# From the top down; the second is the middle one.
CUTS = {
    "rnn": ("decoder", "encoder.2", "encoder.0"),
    "transformer": ("decoder", "encoder.3", "encoder.0"),
}
UNFROZEN = "unfrozen"
ESPNET = "{}, ESPnet"
OURS = "{}, ours"
Model = torch.nn.Module


def build(config: Mapping[str, object]) -> Model:
    """An ASR model by its encoder and decoder, on 80-dimensional features."""
    task = task_of("asr")
    options = vars(task.get_parser().parse_args([])) | config
    options |= dict(token_list=TOKENS, input_size=80, normalize=None)
    options |= dict(model_conf={"ctc_weight": 0.3})
    torch.manual_seed(0)
    return task.build_model(argparse.Namespace(**options))


def leave_unfrozen(model: Model) -> None:
    """As ordinary training does."""


def freeze_by_espnet(cut: str, model: Model) -> None:
    """As --freeze_param does: no gradient, nothing else (abs_task.py `main_worker`, 202511)."""
    order = order_of(model)
    frozen = set()
    for layer in order.layers[cut_index(order.names, cut) :]:
        frozen.update(layer.tensors)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)


def freeze_by_us(cut: str, model: Model) -> None:
    """As a phase does."""
    order = order_of(model)
    upper = order.layers[cut_index(order.names, cut) :]
    tensors = set()
    for layer in upper:
        tensors.update(layer.tensors)
    freeze(model, order, {layer.name for layer in upper}, tensors)


def seconds_of_steps(model: Model, count: int) -> float:
    """Seconds of `count` training steps, after one to warm up.

    All on one batch: 4 utterances of 200 frames, 12 tokens.
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
    # Once, as ESPnet's trainer does at the start of an epoch.
    model.train()
    for number in range(count + 1):
        if number == 1:
            began = time.perf_counter()
        loss = model(**batch)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
    return time.perf_counter() - began


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and the order statistics that hold it with at least 95 % (binomial)."""
    ordered = np.sort(values)
    count = len(ordered)
    outside = max(int(binom.ppf(0.025, count, 0.5)) - 1, 0)
    return float(np.median(ordered)), float(ordered[outside]), float(ordered[count - 1 - outside])


def table(
    seconds: Mapping[str, np.ndarray], peaks: Mapping[str, np.ndarray], cuts: Sequence[str]
) -> Table:
    """A row for each way; `seconds` a step and `peaks` in MB are over the pairs."""

    def ratio(one: str, other: str) -> str:
        return "{:.3f} ({:.3f} to {:.3f})".format(*median_interval(seconds[one] / seconds[other]))

    rows = []
    for name in seconds:
        row = [name, f"{np.median(seconds[name]):.4f}", f"{np.median(peaks[name]):.0f}"]
        rows.append([*row, ratio(name, UNFROZEN), ""])
    for cut in cuts:
        row = next(row for row in rows if row[0] == OURS.format(cut))
        row[-1] = ratio(OURS.format(cut), ESPNET.format(cut))
    header = ("way", "s/step", "peak MB", "time against unfrozen", "against ESPnet's")
    return Table(heading="# Training step", header=header, rows=rows)


def broken_claims(seconds: Mapping[str, np.ndarray], cuts: Sequence[str]) -> list[str]:
    """What the numbers contradict by their interval."""
    broken = []
    for cut in cuts:
        against_espnet = seconds[OURS.format(cut)] / seconds[ESPNET.format(cut)]
        _, low, _ = median_interval(against_espnet)
        if low > 1.02:
            broken.append(f"{cut}: slower than ESPnet's freezing")
    middle = cuts[1]
    _, _, high = median_interval(seconds[OURS.format(middle)] / seconds[UNFROZEN])
    if high >= 1.0:
        broken.append(f"{middle}: not faster than unfrozen training")
    return broken


def options_of_steps(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, *, steps: int
) -> argparse.Namespace:
    """Read ``--pairs`` and ``--steps`` too, and prepare for silent steps on one thread."""
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=steps)
    options = parser.parse_args(argv)
    if options.pairs < 6:
        parser.error(f"--pairs {options.pairs}: an interval of 95 % needs 6 at least")
    torch.set_num_threads(1)
    # ESPnet warns at every forward pass.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one model, print its table, and fail where a claim does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=CONFIGS, default="rnn")
    options = options_of_steps(parser, argv, steps=6)

    def trial(prepare: Callable[[Model], None], pair: int) -> tuple[float, float]:
        def work() -> float:
            model = build(CONFIGS[options.model])
            prepare(model)
            return seconds_of_steps(model, options.steps)

        return in_child(work)

    cuts = CUTS[options.model]
    ways = {UNFROZEN: partial(trial, leave_unfrozen)}
    for cut in cuts:
        ways[ESPNET.format(cut)] = partial(trial, partial(freeze_by_espnet, cut))
        ways[OURS.format(cut)] = partial(trial, partial(freeze_by_us, cut))
    seconds, peaks = {}, {}
    for name, runs in interleaved(ways, options.pairs).items():
        times, peaks[name] = np.array(runs).T
        seconds[name] = times / options.steps
    print(f"# {options.model}, {options.pairs} pairs of {options.steps} steps, one thread")
    print(f"# {machine()}")
    print(table(seconds, peaks, cuts).terminal())
    broken = broken_claims(seconds, cuts)
    if broken:
        raise SystemExit(f"FAILED: {'; '.join(broken)}")
    print("holds: not slower than ESPnet's freezing; a middle cut is faster than unfrozen")


if __name__ == "__main__":
    main()
