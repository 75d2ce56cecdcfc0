"""The seam into ESPnet2: a `Trainer` that prepares one top-down phase and hands over to its epochs.

Adapts espnet2/train/trainer.py (202511 and 202611). Without `topdown_conf` it is ESPnet's trainer,
unchanged.
"""

import argparse
import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import MACHINE
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training import phase_end, phase_start, ranks, repair
from espnet_topdown.training.averages import counts_of


@dataclass
class TopdownOptions(TrainerOptions):
    """ESPnet's trainer options, and what a phase needs to know of its training.

    Args:
        topdown_conf: the phase.
        options: all options of this training, as ESPnet's parser gave them.
    """

    topdown_conf: dict[str, Any]
    options: dict[str, Any]


class TopdownTrainer(Trainer):
    """ESPnet's trainer with one phase of a cascade before and after its epochs."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Give every task ``--topdown_conf`` (ESPnet's ``_conf`` convention)."""
        super().add_arguments(parser)
        parser.add_argument(
            "--topdown_conf",
            action=NestedDictAction,
            default={},
            help=(
                "One phase of top-down training: parent (experiment directory), cut (lowest layer"
                " that is kept and frozen), kind, parent_model, dropout, tied, layers. Empty:"
                " ordinary training"
            ),
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> TrainerOptions:
        """ESPnet's options; with a `topdown_conf` also all of this training's."""
        if not getattr(args, "topdown_conf", None):
            return super().build_options(args)
        options = dict(vars(args))
        return build_dataclass(TopdownOptions, argparse.Namespace(**options, options=options))

    @classmethod
    def run(cls, **kwargs: Any) -> None:
        """Prepare the phase's model, train it as ESPnet does, and prove what came out.

        The model is prepared before ESPnet resumes it and wraps it for several GPUs.

        Args:
            kwargs: those of `Trainer.run`, which ESPnet passes by name.

        Raises:
            TopdownError: the phase cannot begin, or fails its proof.
        """
        options = kwargs["trainer_options"]
        if not isinstance(options, TopdownOptions):
            super().run(**kwargs)
            return
        output_dir = Path(options.output_dir)
        counts = counts_of(options.keep_nbest_models)
        with ranks.together():
            begun = phase_start.begin(
                kwargs["model"],
                TopdownConf.from_conf(options.topdown_conf),
                config=options.options,
                output_dir=output_dir,
                writes=ranks.is_first(),
            )
        if ranks.is_first():
            files.write_json(output_dir / MACHINE, phase_end.machine())
        # One rank reads the files of an earlier run, before any resumes from them.
        last_epoch = ranks.of_first(partial(_last_epoch, options, output_dir))
        if last_epoch is None:
            return
        changes: dict[str, Any] = {
            # ESPnet's averages between epochs would hold rounded frozen tensors.
            "nbest_averaging_interval": 0,
            "max_epoch": last_epoch,
        }
        super().run(**kwargs | {"trainer_options": dataclasses.replace(options, **changes)})
        if ranks.is_first():
            phase_end.finish(begun, output_dir, options.best_model_criterion, counts)

    @classmethod
    def train_one_epoch(cls, *args: Any, **kwargs: Any) -> bool:
        """ESPnet's epoch.

        Args:
            args: none; ESPnet passes everything by name.
            kwargs: those of `Trainer.train_one_epoch`.

        Raises:
            TopdownError: every step's gradient was non-finite, or there are too few batches for a
                step.
        """
        options = kwargs["options"]
        if not isinstance(options, TopdownOptions):
            return super().train_one_epoch(*args, **kwargs)
        before = kwargs["reporter"].get_total_count()
        # ESPnet itself would warn, stop here and count the training as done.
        all_steps_are_invalid = super().train_one_epoch(*args, **kwargs)
        if all_steps_are_invalid:
            batches = kwargs["reporter"].get_total_count() - before
            # It is so on all ranks, whose gradients are shared.
            with ranks.together():
                raise TopdownError(_no_step(kwargs["reporter"].get_epoch(), batches, options))
        return all_steps_are_invalid

    @classmethod
    def validate_one_epoch(cls, *args: Any, **kwargs: Any) -> None:
        """ESPnet's validation; then the last complete checkpoint is put aside.

        As late as can be: what ESPnet does next is to save this epoch over it.

        Args:
            args: none; ESPnet passes everything by name.
            kwargs: those of `Trainer.validate_one_epoch`.
        """
        super().validate_one_epoch(*args, **kwargs)
        options = kwargs["options"]
        if isinstance(options, TopdownOptions) and ranks.is_first():
            repair.put_aside(Path(options.output_dir))


def _no_step(epoch: int, batches: int, options: TopdownOptions) -> str:
    """Why an epoch of so many batches ended without a step of the optimiser."""
    if batches < options.accum_grad:
        return (
            f"epoch {epoch} has {batches} batches, and accum_grad {options.accum_grad} makes one"
            f" step of so many: no step was taken. Give accum_grad {batches} at most (train:"
            " accum_grad), or smaller batches"
        )
    return (
        f"no step of epoch {epoch} had a finite gradient: training has diverged. Lower the learning"
        " rate of this phase (train: optim_conf) or clip more (grad_clip)"
    )


def _last_epoch(options: TrainerOptions, output_dir: Path) -> int | None:
    """The epoch to train to, in a directory that is ready to be resumed; None: all is proved.

    It is `max_epoch`, or the epoch at which an interrupted training had already stopped early:
    ESPnet <= 202511 (train/trainer.py, run) would train one epoch more.
    """
    if phase_end.is_proved(output_dir):
        return None
    nbest = max(counts_of(options.keep_nbest_models))
    reporter = repair.repair(output_dir, options.best_model_criterion, nbest)
    if reporter is None or not options.resume or options.patience is None:
        return options.max_epoch
    has_stopped = reporter.check_early_stopping(options.patience, *options.early_stopping_criterion)
    return reporter.get_epoch() if has_stopped else options.max_epoch
