"""What a stream model needs of ESPnet2's `LMTask`.

Our names as choices, the BPTT iterator, and early refusals.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.utils.nested_dict_action import NestedDictAction

from espnet_topdown.errors import TopdownError
from espnet_topdown.lm import register
from espnet_topdown.lm.bptt import BpttIterFactory, Windows
from espnet_topdown.lm.corpus import EOS, read_text, word_ids


class StreamLMTaskMixin:
    """Put before ESPnet2's `LMTask`; per-line models are untouched by it.

    Adds ``--bptt_conf`` (see `bptt.Windows`) and ``--iterator_type task`` for ``--model
    lm_stream``. The data files are in ESPnet2's text format, with blank lines as ids alone; no
    shape files are needed.
    """

    @classmethod
    def get_parser(cls) -> argparse.ArgumentParser:
        """ESPnet2's parser, our names among its choices."""
        register()
        return super().get_parser()

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """ESPnet2's LM options and ``--bptt_conf``."""
        super().add_task_arguments(parser)
        parser.add_argument_group("Stream related").add_argument(
            "--bptt_conf",
            action=NestedDictAction,
            default={},
            help="Windows of a stream model: bptt, sigma, short_probability, min_frames",
        )

    @classmethod
    def check_required_command_args(cls, args: argparse.Namespace) -> None:
        """ESPnet2's check, then ours for a stream model.

        All faults at once, before anything is built or spawned.

        Raises:
            TopdownError: settings under which a stream model would not be the model asked for.
        """
        super().check_required_command_args(args)
        faults = stream_faults(args) if args.model == "lm_stream" else []
        if faults:
            raise TopdownError(
                "--model lm_stream cannot be trained like this:\n"
                + "\n".join(f"  {f}" for f in faults)
            )
        if args.model == "lm_stream" and args.resume:
            _check_vocabulary(Path(args.output_dir), args.token_list)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> AbsESPnetModel:
        """ESPnet2's LM of `args`; also called for inference, where no parser was built."""
        register()
        return super().build_model(args)

    @classmethod
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: Any, mode: str
    ) -> BpttIterFactory:
        """Windows over the one data file of `mode` (train: random lengths; else fixed).

        Raises:
            TopdownError: more than one file, or one that does not fit the token list.
        """
        paths = [Path(path) for path, *_ in iter_options.data_path_and_name_and_type]
        if len(paths) != 1:
            raise TopdownError(
                f"a stream is read from one text file, {mode} has {len(paths)}; join them into one."
            )
        ids = read_stream(paths[0], args.token_list)
        seed = args.seed if mode == "train" else None
        return BpttIterFactory(ids, iter_options.batch_size, Windows(**args.bptt_conf), seed)


def read_stream(path: Path, tokens: list[str]) -> torch.Tensor:
    """The word ids (tokens,) of a text file in ESPnet2's format, ``<eos>`` after every line.

    Raises:
        TopdownError: a bad file, a word outside `tokens`, or a token list whose last entry is not
            ``<eos>``.
    """
    if tokens[-1] != EOS:
        raise TopdownError(
            f"the token list ends with {tokens[-1]!r}; a stream model needs {EOS!r} last (stage 5"
            " writes it)."
        )
    return torch.tensor(word_ids(read_text(path), tokens, path))


def _check_vocabulary(output_dir: Path, token_list: str | list[str]) -> None:
    """Refuses to resume a training with another token list, before ESPnet2 writes config.yaml anew."""
    config = output_dir / "config.yaml"
    if not (output_dir / "checkpoint.pth").exists() or not config.exists():
        return
    old = yaml.safe_load(config.read_text(encoding="utf-8"))["token_list"]
    new = (
        token_list
        if isinstance(token_list, list)
        else Path(token_list).read_text(encoding="utf-8").splitlines()
    )
    if old != new:
        place = next(
            (n for n, pair in enumerate(zip(old, new)) if pair[0] != pair[1]),
            min(len(old), len(new)),
        )
        raise TopdownError(
            f"{output_dir} was trained with a vocabulary of {len(old)} words, and the token list"
            f" has {len(new)} and differs from entry {place + 1} on. Give the old token list, or"
            " another --output_dir for a new training"
        )


def stream_faults(args: argparse.Namespace) -> list[str]:
    """What is wrong with the options of a stream model's training, with what to give instead."""
    known = Windows.__dataclass_fields__
    checks = [
        (
            args.ngpu > 1,
            (
                f"--ngpu {args.ngpu}: the state of a stream cannot be split over GPUs; give --ngpu"
                " 0 or 1"
            ),
        ),
        (
            args.iterator_type != "task",
            f"--iterator_type {args.iterator_type}: give --iterator_type task",
        ),
        (
            (getattr(args, "valid_iterator_type", None) or "task") != "task",
            (
                f"--valid_iterator_type {getattr(args, 'valid_iterator_type', None)}: give task, or"
                " leave it out"
            ),
        ),
        (
            args.optim != "nt_asgd",
            f"--optim {args.optim}: give --optim nt_asgd (plain SGD without its scheduler)",
        ),
        (
            args.accum_grad != 1,
            f"--accum_grad {args.accum_grad}: each window is one step; give --accum_grad 1",
        ),
        (args.use_amp, "--use_amp true: the softmax makes its own gradients; give --use_amp false"),
        (
            args.num_att_plot != 0 and args.use_matplotlib,
            "--num_att_plot: a stream has no attention; give 0",
        ),
        (
            args.num_iters_per_epoch is not None,
            "--num_iters_per_epoch: an epoch is the whole stream; leave it out",
        ),
        (
            args.token_type != "word",
            (
                f"--token_type {args.token_type}: a stream is read word by word; give --token_type"
                " word"
            ),
        ),
        (
            args.cleaner not in (None, "none"),
            f"--cleaner {args.cleaner}: a stream is read as it stands; leave it out",
        ),
        (
            (args.dist_world_size or 1) > 1,
            f"--dist_world_size {args.dist_world_size}: a stream is trained by one process",
        ),
        (
            args.init is not None,
            f"--init {args.init}: it would draw over AWD-LSTM's own start; leave it out",
        ),
        (
            not set(args.bptt_conf) <= set(known),
            f"--bptt_conf {args.bptt_conf}: known are {', '.join(known)}",
        ),
    ]
    return [text for wrong, text in checks if wrong]
