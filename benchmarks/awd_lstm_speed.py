#!/usr/bin/env python3
"""Training speed of AWD-LSTM: tokens a second of this package's layers, loss and optimiser.

    python3 benchmarks/awd_lstm_speed.py --text data/train/text \
        --tokens data/token_list/word/tokens.txt --windows 20
    python3 benchmarks/awd_lstm_speed.py --text ... --tokens ... \
        --lm_conf unit=64 nhid=128 --batch_size 10 --bptt 35 --windows 200

Prints one line: median and range over the repetitions. Times whole steps (window, forward,
backward, clipping, update) as training makes them, without ESPnet's logging and validation. The
windows are drawn as in training, from one seed, so that another implementation can be given the
same.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
import yaml
from measure import median_and_range

from espnet_topdown.lm.awd_lstm import AWDLSTM
from espnet_topdown.lm.bptt import Batch, BpttIterFactory, Windows
from espnet_topdown.lm.nt_asgd import NTASGD
from espnet_topdown.lm.stream_model import StreamLanguageModel
from espnet_topdown.lm.task import read_stream
from espnet_topdown.lm.trainer import scaled


def measure(options: argparse.Namespace) -> list[float]:
    """Tokens per second of each repetition, every one over the same windows."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    tokens = options.tokens.read_text(encoding="utf-8").splitlines()
    ids = read_stream(options.text, tokens)
    factory = BpttIterFactory(ids, options.batch_size, Windows(options.bptt), options.seed)
    lm_conf = {}
    for option in options.lm_conf:
        key, value = option.split("=")
        lm_conf[key] = yaml.safe_load(value)
    model = StreamLanguageModel(AWDLSTM(len(tokens), **lm_conf), len(tokens))
    model.to(options.device).train()
    rates = dict(lr=options.lr, weight_decay=1.2e-6)
    optimizer = NTASGD(model.parameters(), **rates, averaging=options.averaging)

    def tokens_trained(windows: int) -> int:
        return train(model, optimizer, islice(factory.build_iter(1), windows), options.device)

    tokens_trained(options.warmup)
    speeds = []
    for _ in range(options.repeat):
        began = time.perf_counter()
        count = tokens_trained(options.windows)
        speeds.append(count / (time.perf_counter() - began))
    return speeds


def train(
    model: StreamLanguageModel, optimizer: NTASGD, windows: Iterator[Batch], device: str
) -> int:
    """Train on the windows; returns their number of targets once the device has finished."""
    count = 0
    for _, batch in scaled(windows, [optimizer]):
        tokens = batch["tokens"].to(device)
        targets = batch["targets"].to(device)
        loss, _, weight = model(tokens, targets, batch["reset"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        optimizer.zero_grad()
        count += int(weight)
    if device == "cuda":
        torch.cuda.synchronize()
    return count


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--text", type=Path, required=True, help="training text in ESPnet2's format")
    add("--tokens", type=Path, required=True, help="token list")
    add("--lm_conf", nargs="*", default=[], metavar="KEY=VALUE", help="options of AWDLSTM")
    add("--batch_size", type=int, default=80, help="columns")
    add("--bptt", type=int, default=70, help="mean window in frames")
    add("--lr", type=float, default=30.0, help="base learning rate")
    add("--averaging", action="store_true", help="time the averaging part of NT-ASGD")
    add("--windows", type=int, default=20, help="windows of a repetition")
    add("--warmup", type=int, default=2, help="windows before the clock starts")
    add("--repeat", type=int, default=5, help="repetitions")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    speeds = measure(options)
    what = f"{options.windows} windows of about {options.bptt} x {options.batch_size}"
    where = f"torch {torch.__version__}, {options.threads} thread(s), {options.device}"
    print(f"{median_and_range(speeds, 0)} tokens/s, median of {len(speeds)}; {what}, {where}")


if __name__ == "__main__":
    main()
