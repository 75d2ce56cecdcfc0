"""Training speed of AWD-LSTM.

Tokens per second of this package's layers, loss and optimiser on one text.

Times whole steps (window, forward, backward, clipping, update) as training makes them, without
ESPnet's logging and validation. The windows are drawn as in training, from one seed, so that
another implementation can be given the same.

    python3 benchmarks/awd_lstm_speed.py --text data/train/text --tokens
    data/token_list/word/tokens.txt --windows 20 python3 benchmarks/awd_lstm_speed.py ... --lm_conf
    unit=64 nhid=128 --batch_size 10 --bptt 35 --windows 200
"""

import argparse
import itertools
import statistics
import time
from pathlib import Path

import torch

from espnet_topdown.lm.awd_lstm import AWDLSTM
from espnet_topdown.lm.bptt import BpttIterFactory, Windows
from espnet_topdown.lm.nt_asgd import NTASGD
from espnet_topdown.lm.stream_model import StreamLanguageModel
from espnet_topdown.lm.task import read_stream
from espnet_topdown.lm.trainer import scaled


def measure(options: argparse.Namespace) -> list[float]:
    """Tokens per second of each repetition, every one over the same windows."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    tokens = options.tokens.read_text(encoding="utf-8").split("\n")[:-1]
    factory = BpttIterFactory(
        read_stream(options.text, tokens), options.batch_size, Windows(options.bptt), options.seed
    )
    conf = {
        key: float(value) if "drop" in key else int(value)
        for key, value in (o.split("=") for o in options.lm_conf)
    }
    model = (
        StreamLanguageModel(AWDLSTM(len(tokens), **conf), len(tokens)).to(options.device).train()
    )
    optimizer = NTASGD(
        model.parameters(), lr=options.lr, weight_decay=1.2e-6, averaging=options.averaging
    )
    epoch(model, optimizer, itertools.islice(factory.build_iter(1), options.warmup), options.device)
    speeds = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        count = epoch(
            model,
            optimizer,
            itertools.islice(factory.build_iter(1), options.windows),
            options.device,
        )
        speeds.append(count / (time.perf_counter() - start))
    return speeds


def epoch(model: torch.nn.Module, optimizer: NTASGD, windows: object, device: str) -> int:
    """Trains on the windows; returns their number of targets once the device has finished."""
    count = 0
    for _, batch in scaled(windows, [optimizer]):
        loss, _, weight = model(
            batch["tokens"].to(device), batch["targets"].to(device), batch["reset"]
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        optimizer.zero_grad()
        count += int(weight)
    if device == "cuda":
        torch.cuda.synchronize()
    return count


def main() -> None:
    """Prints the median and the range."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--text", type=Path, required=True, help="training text in ESPnet2's format"
    )
    parser.add_argument("--tokens", type=Path, required=True, help="token list")
    parser.add_argument(
        "--lm_conf", nargs="*", default=[], metavar="KEY=VALUE", help="options of AWDLSTM"
    )
    parser.add_argument("--batch_size", type=int, default=80, help="columns")
    parser.add_argument("--bptt", type=int, default=70, help="mean window in frames")
    parser.add_argument("--lr", type=float, default=30.0, help="base learning rate")
    parser.add_argument(
        "--averaging", action="store_true", help="time the averaging part of NT-ASGD"
    )
    parser.add_argument("--windows", type=int, default=20, help="windows of a repetition")
    parser.add_argument("--warmup", type=int, default=2, help="windows before the clock starts")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    speeds = measure(options)
    print(
        f"{statistics.median(speeds):.0f} tokens/s (median of {len(speeds)}; {min(speeds):.0f} to"
        f" {max(speeds):.0f}), {options.windows} windows of about {options.bptt} x"
        f" {options.batch_size}, torch {torch.__version__}, {options.threads} thread(s),"
        f" {options.device}"
    )


if __name__ == "__main__":
    main()
