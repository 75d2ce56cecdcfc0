"""ESPnet2 tasks that train with `TopdownTrainer`.

Subclasses in an importable module, so that the workers that ESPnet spawns for several GPUs find
them by name; a patched class attribute would be lost there (espnet2/tasks/abs_task.py, main).
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.tasks.abs_task import AbsTask
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.mt import MTTask
from espnet2.tasks.s2t import S2TTask
from espnet2.tasks.slu import SLUTask
from espnet2.tasks.st import STTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import get_rank
from espnet2.train.trainer import Trainer
from torch.multiprocessing.spawn import ProcessExitedException

from espnet_topdown import files, locks
from espnet_topdown.check import mapping_in
from espnet_topdown.errors import TopdownError, nearest, reported
from espnet_topdown.experiment.phase_dir import BEGUN, LOCK, START, check_unfinished
from espnet_topdown.lm.task import StreamLMTask
from espnet_topdown.lm.trainer import StreamTrainer
from espnet_topdown.plan.ties import untie
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training import (
    learning_rates,
    model_layers,
    pretrained,
    random_numbers,
    ranks,
    vocabulary,
)
from espnet_topdown.training.kept import kept_of
from espnet_topdown.training.trainer import TopdownTrainer
from espnet_topdown.warm.groups import told


class TopdownTask(AbsTask):
    """Put before an ESPnet task: our trainer, a lock on a training's directory, and untying."""

    trainer = TopdownTrainer

    @classmethod
    def main(cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None) -> None:
        """ESPnet's ``main``; a worker that it spawned for a GPU and that failed is told as one.

        Raises:
            TopdownError: a worker was killed.
        """
        try:
            super().main(args=args, cmd=cmd)
        except ProcessExitedException as error:
            if error.exit_code < 0:
                raise TopdownError(
                    f"worker {error.error_index} of this training {told(error.exit_code)}"
                ) from None
            # What the worker said stands above, and needs no traceback of ours below it.
            sys.exit(error.exit_code)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """ESPnet's worker; a training's first rank holds the lock of its directory meanwhile.

        Weights that ESPnet ties are untied before the model is built, if the phase says so.

        Raises:
            TopdownError: a faulty `topdown_conf`, one beside an adapter, a model without such a
                tie, or a directory in which another process trains (a conventional training of one
                process waits for it).
        """
        is_spawned = multiprocessing.parent_process() is not None
        # Nobody above a spawned worker would see more of an exception than status 1.
        with reported(system_faults=False) if is_spawned else contextlib.nullcontext():
            cls._work(args)

    @classmethod
    def _name_as_espnet(cls, args: argparse.Namespace) -> None:
        """Name the project of Weights & Biases by ESPnet's task, as ESPnet would, and not by ours.

        A phase is a run of its own: what the shell says of a run is of another.
        """
        if args.use_wandb and args.wandb_project is None:
            names = [one.__name__ for one in cls.__mro__ if one.__module__.startswith("espnet2.")]
            args.wandb_project = f"ESPnet_{names[0]}"
        if args.topdown_conf:
            for variable in ("WANDB_RUN_ID", "WANDB_NAME", "WANDB_RESUME"):
                os.environ.pop(variable, None)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """ESPnet's optimisers, with parameter groups for kept layers that learn at a factor.

        Args:
            args: of the training; its `topdown_conf` may be empty, or taken away.
            model: as ESPnet built it, before its parameters are frozen.

        Raises:
            TopdownError: as `kept_of`, or an optimiser that can have no such groups.
        """
        optimizers = super().build_optimizers(args, model)
        if vars(args).get("topdown_conf"):
            conf = TopdownConf.from_conf(args.topdown_conf)
            own = kept_of(model, model_layers.order_of(model, conf.layers), conf)
            if own.factors:
                _check_factors(args)
            learning_rates.split_groups(optimizers, model, own.factors)
        return optimizers

    @classmethod
    def _work(cls, args: argparse.Namespace) -> None:
        cls._name_as_espnet(args)
        if not args.topdown_conf:
            cls._train_without_conf(args)
            return
        if args.collect_stats or args.dry_run:
            super().main_worker(args)
            return
        with contextlib.ExitStack() as held:
            with ranks.together(args):
                cls._prepare(args)
                # A runner, which has begun the phase, waits for its trainer itself.
                has_runner = (Path(args.output_dir) / BEGUN).exists()
                held.enter_context(_held(args, waits=not (has_runner or args.distributed)))
                # Before ESPnet writes its config.yaml over the finished phase's.
                check_unfinished(Path(args.output_dir))
                if _is_first_rank(args):
                    held.enter_context(_config_of_what_is_begun(Path(args.output_dir)))
            super().main_worker(args)

    @classmethod
    def _prepare(cls, args: argparse.Namespace) -> None:
        """Refuse what no phase can be trained with, and untie weights if the phase says so."""
        _refuse_deepspeed(args)
        pretrained.refuse_code(args.init_param)
        # Before ESPnet builds the adapter, which may need a package that is not there.
        if vars(args).get("use_adapter"):
            raise TopdownError(
                "topdown_conf and use_adapter exclude one another: an adapter renames the layers;"
                " train without it (use_adapter: false)"
            )
        conf = TopdownConf.from_conf(args.topdown_conf)
        if conf.parent and Path(conf.parent).resolve() == Path(args.output_dir).resolve():
            raise TopdownError(
                f"the phase would be trained in {args.output_dir}, which is its parent's directory;"
                " give another output_dir, as by --asr_tag or --asr_exp of asr.sh"
            )
        if conf.unties:
            untie(vars(args))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> AbsESPnetModel:
        """ESPnet's; it is the first that ranks do after they have met.

        A phase's is drawn under its own seed, whatever its classes seed. The model keeps the
        options that it was built by, as `model_layers` asks for them, and that of a phase with its
        own tokens which of its tensors depend on them.
        """
        conf = getattr(args, "topdown_conf", None) or {}
        if conf:
            with ranks.together():
                pass
        with random_numbers.never_seeded() if conf else contextlib.nullcontext():
            model: AbsESPnetModel = super().build_model(args)
        model.built_by = args
        if conf.get("tokens"):
            larger = vocabulary.grown(super().build_model, args)
            setattr(model, vocabulary.ATTRIBUTE, vocabulary.dependent(model, larger))
        return model

    @classmethod
    def _train_without_conf(cls, args: argparse.Namespace) -> None:
        """What ESPnet does; its config.yaml is such that ESPnet reads it alone."""
        del args.topdown_conf
        # A class, since ESPnet looks there; DeepSpeed it runs by its own trainer alone
        # (espnet2/tasks/abs_task.py, main_worker).
        task: Any = cls
        if getattr(args, "use_deepspeed", False):
            task = type(cls.__name__, (cls,), {"trainer": Trainer})
        if not (args.collect_stats or args.dry_run):
            check_unfinished(Path(args.output_dir))
        # Of several ranks only the first would wait, and the others give it up after ten minutes
        # (torch's init_process_group with nccl).
        with _held(args, waits=not args.distributed):
            super(TopdownTask, task).main_worker(args)


def _held(args: argparse.Namespace, *, waits: bool) -> contextlib.AbstractContextManager[None]:
    """The lock of a training's directory, held by its first rank alone, where it is one."""
    if args.collect_stats or args.dry_run or not _is_first_rank(args):
        return contextlib.nullcontext()
    return locks.locked(Path(args.output_dir) / LOCK, "training", waits=waits)


@contextlib.contextmanager
def _config_of_what_is_begun(directory: Path) -> Iterator[None]:
    """Put back the config.yaml of a training in whose directory another is refused.

    ESPnet writes its own before the phase is begun, which ``topdown/start.json`` tells of.
    """
    config, start = (directory / name for name in ("config.yaml", START))
    before = [path.read_bytes() if path.exists() else None for path in (config, start)]
    try:
        yield
    # ESPnet refuses some itself, such as data that is not there.
    except BaseException:
        was, begun = before
        now = start.read_bytes() if start.exists() else None
        if was is not None and now == begun:
            files.write_text(config.resolve(), was.decode())
        raise


def _is_first_rank(args: argparse.Namespace) -> bool:
    """Whether this process writes; of several nodes' ranks ESPnet knows by the launcher."""
    if not args.distributed:
        return True
    return get_rank(args.dist_rank, args.dist_launcher) in (0, None)


def _check_factors(args: argparse.Namespace) -> None:
    """Refuse options beside which no layer can learn at a factor."""
    if getattr(args, "sharded_ddp", False):
        raise TopdownError("kept_lr and sharded_ddp exclude one another; leave one out")
    fault = learning_rates.schedule_fault(mapping_in(vars(args), "scheduler_conf"))
    if fault:
        raise TopdownError(fault)


def _refuse_deepspeed(args: argparse.Namespace) -> None:
    if getattr(args, "use_deepspeed", False):
        raise TopdownError(
            "topdown_conf and use_deepspeed exclude one another: ESPnet trains with its own trainer"
            " alone there; leave use_deepspeed out"
        )


class TopdownASRTask(TopdownTask, ASRTask):
    """Speech recognition."""


class TopdownLMTrainer(StreamTrainer, TopdownTrainer):
    """`TopdownTrainer`; with NT-ASGD, averages in validation and saved models."""


class TopdownLMTask(TopdownTask, StreamLMTask):
    """Language models, AWD-LSTM on streams among them."""

    trainer = TopdownLMTrainer


class TopdownSTTask(TopdownTask, STTask):
    """Speech translation."""


class TopdownMTTask(TopdownTask, MTTask):
    """Machine translation."""


class TopdownSLUTask(TopdownTask, SLUTask):
    """Spoken language understanding."""


class TopdownS2TTask(TopdownTask, S2TTask):
    """Speech to text (OWSM)."""


_TASKS = {
    "asr": TopdownASRTask,
    "lm": TopdownLMTask,
    "st": TopdownSTTask,
    "mt": TopdownMTTask,
    "slu": TopdownSLUTask,
    "s2t": TopdownS2TTask,
}


def task_of(name: str) -> type[TopdownTask]:
    """The class of an ESPnet task.

    Args:
        name: ESPnet's, one of `espnet_topdown.experiment.task.TASKS` (``asr`` for
            ``espnet2.bin.asr_train``).

    Raises:
        TopdownError: a task that is not trained here.
    """
    if name not in _TASKS:
        raise TopdownError(f"the task '{name}' is not trained top-down; {nearest(name, _TASKS)}")
    return _TASKS[name]
