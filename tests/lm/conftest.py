"""One small corpus, and trainings of a tiny AWD-LSTM by the real task, for the tests of lm/."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from recipe import TINY, WITHOUT_DROPOUT

# Some look like other things to YAML, and 1.e4 to some of its readers alone: it is a word of
# WikiText-2's.
LOOK_ALIKES = ["1.e4", "1e5", "0x1f", "12:30", "2016-09-26", "no", "null", "~", "=", "<<"]
WORDS = [*LOOK_ALIKES, *(f"w{number}" for number in range(7))]
# What every tiny training here has; a test changes what it is about.
CONFIG = dict(
    lm="awd_lstm",
    lm_conf=TINY | WITHOUT_DROPOUT,
    model="lm_stream",
    iterator_type="task",
    bptt_conf=dict(bptt=9, sigma=2.0, min_frames=3, short_probability=0.3),
    batch_size=4,
    valid_batch_size=2,
    optim="nt_asgd",
    optim_conf=dict(lr=20.0, weight_decay=1e-4),
    scheduler="nt_asgd_trigger",
    scheduler_conf=dict(nonmono=1),
    grad_clip=0.25,
    max_epoch=4,
    seed=3,
    token_type="word",
    best_model_criterion=[["valid", "loss", "min"]],
    keep_nbest_models=10,
    num_att_plot=0,
    use_matplotlib=False,
    use_tensorboard=False,
    num_workers=0,
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three texts in ESPnet2's format with blank lines, and tokens.txt (WORDS, <unk>, <eos>)."""
    from espnet_topdown.lm import data

    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    for split, count in (("train", 60), ("valid", 20), ("test", 12)):
        # Every word once, so that each split has the whole vocabulary, and a blank line.
        lines = [" ".join(WORDS), ""]
        for _ in range(count):
            chosen = rng.choice(WORDS, size=rng.integers(0, 12))
            lines.append(" ".join(chosen))
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data.prepare(root, root)
    data.write_tokens(root / "train/text", root / "tokens.txt")
    return root


@dataclass
class Trace:
    """What a training did in each window: its loss, its gradient's norm before clipping."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)


@pytest.fixture(scope="session")
def train(corpus: Path) -> Callable[..., Trace]:
    """train(directory, **changes): trains in this process; returns the `Trace`.

    `changes` replace keys of CONFIG; `token_list` is another list than the corpus's.
    """
    import torch

    from espnet_topdown.lm.stream_model import StreamLanguageModel
    from espnet_topdown.training.tasks import TopdownLMTask

    def run(directory: Path, **changes: object) -> Trace:
        trace = Trace()
        directory.mkdir(exist_ok=True)
        tokens = str(changes.pop("token_list", corpus / "tokens.txt"))
        config = directory / "train.yaml"
        config.write_text(yaml.safe_dump(CONFIG | changes), encoding="utf-8")
        command = ["--config", str(config), "--token_list", tokens, "--ngpu", "0"]
        for part in ("train", "valid"):
            text = corpus / part / "text"
            command += [f"--{part}_data_path_and_name_and_type", f"{text},text,text"]
        clip = torch.nn.utils.clip_grad_norm_
        forward = StreamLanguageModel.forward

        def clip_and_note(*args: object, **kwargs: object) -> torch.Tensor:
            norm = clip(*args, **kwargs)
            trace.norms.append(float(norm))
            return norm

        def forward_and_note(self: StreamLanguageModel, **kwargs: object) -> tuple:
            result = forward(self, **kwargs)
            if self.training:
                trace.losses.append(float(result[1]["loss"]))
            return result

        with pytest.MonkeyPatch.context() as patch:
            # ESPnet writes it into config.yaml and the log.
            patch.setattr(sys, "argv", ["train"])
            patch.setattr(torch.nn.utils, "clip_grad_norm_", clip_and_note)
            patch.setattr(StreamLanguageModel, "forward", forward_and_note)
            TopdownLMTask.main(cmd=[*command, "--output_dir", str(directory), "--resume", "true"])
        return trace

    return run
