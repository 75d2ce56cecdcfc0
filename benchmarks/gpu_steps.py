"""Speed and memory of single steps on a GPU: frozen beside unfrozen, AWD-LSTM beside nn.LSTM.

Sections of `gpu.py`.
"""

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import islice

import freezing
import numpy as np
import torch
import torch.nn.functional as F
from awd_lstm_speed import train
from measure import interleaved, say
from torch import Tensor, nn

from espnet_topdown.lm.awd_lstm import AWDLSTM
from espnet_topdown.lm.bptt import BpttIterFactory, Windows
from espnet_topdown.lm.nt_asgd import NTASGD
from espnet_topdown.lm.stream_model import StreamLanguageModel

# Encoder and decoder of the recipes for WSJ and Switchboard.
CONFIGS = {
    "RNN": {
        "encoder": "vgg_rnn",
        "encoder_conf": {"num_layers": 4, "hidden_size": 320, "output_size": 320},
        "decoder": "rnn",
        "decoder_conf": {"hidden_size": 320, "att_conf": {"atype": "location"}},
    },
    "Transformer": {
        "encoder": "transformer",
        "encoder_conf": {"num_blocks": 12, "output_size": 256, "linear_units": 2048},
        "decoder": "transformer",
        "decoder_conf": {"num_blocks": 6, "linear_units": 2048},
    },
}
CUTS = {
    "RNN": ("decoder", "encoder.2", "encoder.0"),
    "Transformer": ("decoder", "encoder.6", "encoder.0"),
}
WARM_UP = 2
# Each of three modes of two models has this long for its turns: then the section keeps its limit
# where a step takes half a second, too.
TURNS_S = 11.0
FEWEST_TURNS, MOST_TURNS = 6, 20  # fewer have no interval of 95 %


def steps(options: argparse.Namespace) -> None:
    """Training steps of each model unfrozen and at three cuts, in turn."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    is_cuda = options.device == "cuda"
    modes = ("float32", "TF32", "AMP") if is_cuda else ("float32", "AMP")
    for mode in modes:
        _use_tf32(on=mode == "TF32")
        for name in CONFIGS:
            _steps_of(options, name, mode)
            if is_cuda:
                torch.cuda.empty_cache()


def _use_tf32(*, on: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def _batch(options: argparse.Namespace) -> dict[str, Tensor]:
    """300 s of features in 20 utterances."""
    utterances, frames, labels = (1, 100, 5) if options.quick else (20, 1500, 150)
    generator = torch.Generator().manual_seed(1)
    batch = {
        "speech": torch.randn(utterances, frames, 80, generator=generator),
        "speech_lengths": torch.full((utterances,), frames),
        "text": torch.randint(2, 49, (utterances, labels), generator=generator),
        "text_lengths": torch.full((utterances,), labels),
    }
    return {key: value.to(options.device) for key, value in batch.items()}


def _steps_of(options: argparse.Namespace, name: str, mode: str) -> None:
    """Seconds of up to 20 steps of each way, all on one batch; ratios within a turn."""
    batch = _batch(options)
    turn_s = 0.0
    ways: dict[str, Callable[[int], float]] = {}
    peaks = {}
    for cut in (None, *CUTS[name]):
        way = cut or freezing.UNFROZEN
        before = _memory_mb(options.device)
        step = partial(_step, _model(name, cut, options.device), batch, mode == "AMP")
        warm_s = [step(number) for number in range(WARM_UP)]
        turn_s += warm_s[-1]
        # Of this way alone: the models of the others are there meanwhile.
        peaks[way] = _memory_mb(options.device, peak=True) - before
        ways[way] = step
    turns = FEWEST_TURNS if options.quick else turns_within(TURNS_S, turn_s)
    seconds = {way: np.array(times) for way, times in interleaved(ways, turns).items()}
    for way, times in seconds.items():
        ratio = freezing.median_interval(times / seconds[freezing.UNFROZEN])
        say(
            options.out,
            section="steps",
            model=name,
            mode=mode,
            way=way,
            features_s=batch["speech_lengths"].sum().item() // 100,
            steps=turns,
            ms=round(1000 * float(np.median(times)), 2),
            ratio=[round(value, 3) for value in ratio],
            peak_MB=round(peaks[way]),
        )


def turns_within(seconds: float, turn_s: float) -> int:
    """How many turns, of `turn_s` each, fit in the seconds: 6 at least, 20 at most."""
    return min(max(int(seconds / turn_s), FEWEST_TURNS), MOST_TURNS)


def _model(name: str, cut: str | None, device: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = freezing.build(CONFIGS[name]).to(device).train()
    if cut is not None:
        freezing.freeze_by_us(cut, model)
    return model, torch.optim.Adam(model.parameters())


def _step(
    trained: tuple[nn.Module, torch.optim.Optimizer], batch: dict[str, Tensor], amp: bool, _: int
) -> float:
    """Seconds of one step."""
    model, optimiser = trained
    device = batch["speech"].device.type
    _wait(device)
    began = time.perf_counter()
    with torch.autocast(device, dtype=torch.bfloat16, enabled=amp):
        loss = model(**batch)[0]
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    optimiser.zero_grad()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _memory_mb(device: str, *, peak: bool = False) -> float:
    """Memory in use on the GPU, or the most since the last call; 0 on a CPU."""
    if device != "cuda":
        return 0.0
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return (most if peak else torch.cuda.memory_allocated()) / 1e6


class PlainLSTM(nn.Module):
    """Embedding, three nn.LSTM and the tied softmax, without dropout: the least that is to do."""

    def __init__(self, words: int, unit: int = 400, nhid: int = 1150) -> None:
        super().__init__()
        self.encoder = nn.Embedding(words, unit)
        sizes = ((unit, nhid), (nhid, nhid), (nhid, unit))
        self.rnns = nn.ModuleList(nn.LSTM(before, after) for before, after in sizes)
        self.decoder = nn.Linear(unit, words)
        self.decoder.weight = self.encoder.weight
        self.states: list[tuple[Tensor, Tensor] | None] = [None] * 3

    def forward(self, tokens: Tensor, targets: Tensor, reset: bool) -> tuple[Tensor, dict, int]:
        """Loss, nothing, number of targets, as `StreamLanguageModel` returns them."""
        x = self.encoder(tokens)
        before = [None] * 3 if reset else self.states
        self.states = []
        for rnn, state in zip(self.rnns, before, strict=True):
            x, (h, c) = rnn(x, state)
            self.states.append((h.detach(), c.detach()))
        loss = F.cross_entropy(self.decoder(x.flatten(0, 1)), targets.flatten())
        return loss, {}, targets.numel()


def lstm_speeds(options: argparse.Namespace) -> None:
    """Tokens a second of the full-size AWD-LSTM, unfrozen and frozen, and of `PlainLSTM`."""
    words, columns, windows, sizes = 33_278, 80, 10, {}
    if options.quick:
        words, columns, windows, sizes = 500, 4, 3, {"unit": 16, "nhid": 32}
    weights = 1 / np.arange(1, words + 1)
    length = columns * 100 * (windows + 2)
    drawn = np.random.default_rng(0).choice(words, size=length, p=weights / weights.sum())
    factory = BpttIterFactory(torch.from_numpy(drawn), columns, Windows(70), 1)

    def ours(*frozen: str) -> nn.Module:
        model = StreamLanguageModel(AWDLSTM(words, **sizes), words)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen))
        return model

    def speed(make: Callable[[], nn.Module], averaging: bool, _: int) -> float:
        torch.manual_seed(0)
        model = make().to(options.device).train()
        optimizer = NTASGD(model.parameters(), lr=1.0, averaging=averaging)
        stream = factory.build_iter(1)
        train(model, optimizer, islice(stream, 2), options.device)
        _wait(options.device)
        began = time.perf_counter()
        count = train(model, optimizer, islice(stream, windows), options.device)
        return count / (time.perf_counter() - began)

    upper = ("lm.encoder", "lm.decoder")
    ways = {
        "plain nn.LSTM": partial(speed, partial(PlainLSTM, words, **sizes), False),
        "AWD-LSTM": partial(speed, ours, False),
        "AWD-LSTM, averaging": partial(speed, ours, True),
        "AWD-LSTM, cut output": partial(speed, partial(ours, *upper), False),
        "AWD-LSTM, cut rnn.1": partial(
            speed, partial(ours, *upper, "lm.rnns.2", "lm.rnns.1"), False
        ),
    }
    for mode in ("float32", "TF32") if options.device == "cuda" else ("float32",):
        _use_tf32(on=mode == "TF32")
        for way, speeds in interleaved(ways, 2 if options.quick else 3).items():
            rate = statistics.median(speeds)
            say(options.out, section="lstm", way=way, mode=mode, tokens_per_s=round(rate))
