"""Fixtures of the language-model tests.

One small corpus, and trainings of a tiny AWD-LSTM through the real command.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

WORDS = [f"w{i}" for i in range(17)]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus.

    Three texts in ESPnet2's format with blank lines, and tokens.txt (17 words, <unk>, <eos>).
    """
    from espnet_topdown.lm import data

    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    for split, lines in (("train", 60), ("valid", 20), ("test", 12)):
        chosen = [" ".join(rng.choice(WORDS, size=rng.integers(0, 12))) for _ in range(lines)]
        (root / f"{split}.txt").write_text(
            "\n".join([" ".join(WORDS), "", *chosen]) + "\n", encoding="utf-8"
        )
    data.prepare(root, root)
    data.write_tokens(root / "train/text", root / "tokens.txt")
    return root


@dataclass
class Trace:
    """What a training did, window by window.

    Its loss and the norm of its gradient before clipping.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)


def config(**changes: object) -> dict[str, object]:
    """A tiny training configuration without dropout; `changes` replace its keys."""
    off = dict(dropout_rate=0.0, dropouth=0.0, dropouti=0.0, dropoute=0.0, wdrop=0.0)
    return (
        dict(
            lm="awd_lstm",
            lm_conf=dict(unit=6, nhid=8, nlayers=3) | off,
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
        | changes
    )


@pytest.fixture(scope="session")
def train(corpus: Path) -> Callable[..., Trace]:
    """train(directory, **changes): a training by `espnet_topdown.bin.train lm` in this process.

    Returns its `Trace`.
    """
    import torch

    from espnet_topdown.lm.stream_model import StreamLanguageModel
    from espnet_topdown.training.tasks import TopdownLMTask

    def run(directory: Path, **changes: object) -> Trace:
        trace = Trace()
        directory.mkdir(exist_ok=True)
        tokens = str(changes.pop("token_list", corpus / "tokens.txt"))
        (directory / "train.yaml").write_text(yaml.safe_dump(config(**changes)), encoding="utf-8")
        command = ["--config", str(directory / "train.yaml"), "--token_list", tokens, "--ngpu", "0"]
        for split in ("train", "valid"):
            command += [
                f"--{split}_data_path_and_name_and_type",
                f"{corpus / split / 'text'},text,text",
            ]
        clip, forward = torch.nn.utils.clip_grad_norm_, StreamLanguageModel.forward

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
            patch.setattr(sys, "argv", ["train"])
            patch.setattr(torch.nn.utils, "clip_grad_norm_", clip_and_note)
            patch.setattr(StreamLanguageModel, "forward", forward_and_note)
            TopdownLMTask.main(cmd=[*command, "--output_dir", str(directory), "--resume", "true"])
        return trace

    return run
