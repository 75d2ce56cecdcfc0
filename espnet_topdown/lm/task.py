"""ESPnet2's LM task for a stream: our names as choices, the BPTT iterator, and early refusals."""

import argparse
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.tasks.lm import LMTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import get_world_size
from espnet2.utils.nested_dict_action import NestedDictAction

from espnet_topdown.check import Must, faults, mapping_in, refuse, unknown_keys
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_data import tokens_of
from espnet_topdown.lm import register
from espnet_topdown.lm.awd_lstm import AWDLSTM
from espnet_topdown.lm.bptt import BpttIterFactory, Windows
from espnet_topdown.lm.corpus import EOS, read_text, word_ids
from espnet_topdown.lm.nt_asgd import NTASGD
from espnet_topdown.lm.stream_model import StreamLanguageModel

# What ESPnet2's options must be for --model lm_stream, and why.
RULES = {
    "ngpu": Must(
        "0 or 1 (the state of a stream cannot be split over GPUs)", lambda count: count <= 1
    ),
    "dist_world_size": Must("1 (a stream is trained by one process)", lambda count: count <= 1),
    "iterator_type": Must("task", lambda name: name == "task"),
    "valid_iterator_type": Must("task, or left out", lambda name: name == "task"),
    "optim": Must("nt_asgd (plain SGD without its scheduler)", lambda name: name == "nt_asgd"),
    "accum_grad": Must("1 (each window is one step)", lambda steps: steps == 1),
    "train_dtype": Must(
        "float32 or float64 (sums of losses and averages of weights are kept in it)",
        lambda name: name in ("float32", "float64"),
    ),
    "use_amp": Must("false (the softmax makes its own gradients)", lambda on: not on),
    "num_att_plot": Must("0 (a stream has no attention)", lambda count: count == 0),
    "multiple_iterator": Must("false (an epoch is the whole stream)", lambda on: not on),
    "num_iters_per_epoch": Must("left out (an epoch is the whole stream)", lambda count: False),
    "token_type": Must("word (a stream is read word by word)", lambda name: name == "word"),
    "cleaner": Must("left out (a stream is read as it stands)", lambda name: name == "none"),
    "init": Must("left out (it would draw over AWD-LSTM's own start)", lambda name: False),
}
# Whose options the mappings of a stream model's config are.
_OWNERS: dict[str, type] = {
    "bptt_conf": Windows,
    "lm_conf": AWDLSTM,
    "model_conf": StreamLanguageModel,
    "optim_conf": NTASGD,
}


class StreamLMTask(LMTask):
    """ESPnet2's `LMTask` with stream models; per-line models are untouched by it.

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
            TopdownError: settings under which a stream model would not be the model asked for, or
                under which another would end in a traceback.
        """
        super().check_required_command_args(args)
        if args.model != "lm_stream":
            refuse(_line_model_faults(args), f"--model {args.model} cannot be trained like this")
            return
        refuse(stream_faults(args), "--model lm_stream cannot be trained like this")
        if args.resume:
            _check_vocabulary(Path(args.output_dir), tokens_of(vars(args)))

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
                f"a stream is read from one text file, {mode} has {len(paths)}; join them into one"
            )
        ids = read_stream(paths[0], args.token_list)
        seed = args.seed if mode == "train" else None
        return BpttIterFactory(ids, iter_options.batch_size, Windows(**args.bptt_conf), seed)


def read_stream(path: Path, tokens: Sequence[str]) -> torch.Tensor:
    """The word ids (tokens,) of a text file in ESPnet2's format, ``<eos>`` after every line.

    Raises:
        TopdownError: a bad file, a word outside `tokens`, or a token list whose last entry is not
            ``<eos>``.
    """
    if tokens[-1] != EOS:
        raise TopdownError(
            f"the token list ends with {tokens[-1]!r}; a stream model needs {EOS!r} last (stage 5"
            " writes it)"
        )
    return torch.tensor(word_ids(read_text(path), tokens, path))


def stream_faults(args: argparse.Namespace) -> list[str]:
    """What is wrong with the options of a stream model's training, with what to give instead."""
    options = dict(vars(args))
    # Of several nodes ESPnet knows by the launcher, of several processes by the environment.
    if args.dist_launcher != "mpi":
        options["dist_world_size"] = get_world_size(args.dist_world_size, args.dist_launcher)
    if not options["use_matplotlib"]:
        # ESPnet2 plots nothing then (espnet2/tasks/abs_task.py `main_worker`, 202511).
        del options["num_att_plot"]
    return faults(options, RULES) + [
        f"{conf}: {fault}"
        for conf, owner in _OWNERS.items()
        for fault in unknown_keys(mapping_in(options, conf), _options_of(owner))
    ]


def _options_of(owner: type) -> list[str]:
    """The options that a class takes from its mapping in a config; ESPnet gives it the others."""
    names = inspect.signature(owner).parameters
    return [name for name in names if name not in ("params", "vocab_size", "lm")]


def _line_model_faults(args: argparse.Namespace) -> list[str]:
    """Why a model that reads line by line cannot be trained, where ESPnet would end later."""
    if args.iterator_type == "task":
        return ["iterator_type task is that of --model lm_stream; leave it out, or give that model"]
    trains = not (args.collect_stats or args.dry_run)
    if trains and args.iterator_type == "sequence" and not args.train_shape_file:
        fault = "its batches are made by shape files (stage 6 of ESPnet's asr.sh), and there are"
        return [f"{fault} none; recipes that give none train --model lm_stream alone"]
    return []


def _check_vocabulary(output_dir: Path, new: list[str]) -> None:
    """Refuse to resume with another token list, before ESPnet2 writes config.yaml anew."""
    config = output_dir / "config.yaml"
    if not (output_dir / "checkpoint.pth").exists() or not config.exists():
        return
    old = read_config(config)["token_list"]
    if old != new:
        shared = os.path.commonprefix([old, new])
        raise TopdownError(
            f"{output_dir} was trained with a vocabulary of {len(old)} words, and the token list"
            f" has {len(new)} and differs from entry {len(shared) + 1} on. Give the old"
            " token list, or another --output_dir for a new training"
        )
