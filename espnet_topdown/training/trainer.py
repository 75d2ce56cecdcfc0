"""The seam into ESPnet2: a `Trainer` that prepares one top-down phase and hands over to its epochs.

Adapts espnet2/train/trainer.py (202511 and 202611). Without `topdown_conf` it trains as ESPnet's,
and survives a kill while it saves.
"""

import argparse
import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from espnet2.train.reporter import aggregate
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.averages import counts_of
from espnet_topdown.plan.stopping import Bar
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training import (
    gradients,
    learning_rates,
    onednn_lstm,
    phase_end,
    phase_start,
    ranks,
    repair,
)


@dataclass
class TopdownOptions(TrainerOptions):
    """ESPnet's trainer options, and what a phase needs to know of its training.

    Args:
        topdown_conf: the phase.
        options: all options of this training, as ESPnet's parser gave them.
        bar: what it must reach on dev in order to go on; None: it is trained in full.
        curve: the dev criterion of each epoch so far, where there is a bar.
    """

    topdown_conf: dict[str, Any]
    options: dict[str, Any]
    bar: Bar | None = None
    curve: list[float] = dataclasses.field(default_factory=list)


class _Stopped(Exception):
    """The bar ends the training before its last epoch."""


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
                " that is kept and frozen) or keep or draw (layers by name), kind, kept_lr (factor"
                " on the learning rate of what is kept), parent_model, dropout, tied, layers,"
                " stop_early. Empty: ordinary training"
            ),
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> TrainerOptions:
        """ESPnet's options; with a `topdown_conf` also all of this training's."""
        if not getattr(args, "topdown_conf", None):
            return super().build_options(args)
        options = dict(vars(args))
        ours: dict[str, Any] = {"options": options, "bar": None, "curve": []}
        return build_dataclass(TopdownOptions, argparse.Namespace(**options, **ours))

    @classmethod
    def run(cls, **kwargs: Any) -> None:
        """Prepare the phase's model, train it as ESPnet does, and prove what came out.

        The model is prepared before ESPnet resumes it and wraps it for several GPUs.

        Args:
            kwargs: those of `Trainer.run`, which ESPnet passes by name.

        Raises:
            TopdownError: the phase cannot begin, or fails its proof.
        """
        onednn_lstm.use(kwargs["model"])
        options = kwargs["trainer_options"]
        if not isinstance(options, TopdownOptions):
            cls._run_as_espnet(**kwargs)
            return
        output_dir = Path(options.output_dir)
        counts = counts_of(options.keep_nbest_models)
        conf = TopdownConf.from_conf(options.topdown_conf)
        bar = Bar.from_conf(conf.stop_early) if conf.stop_early else None
        with ranks.together():
            begun = phase_start.begin(
                kwargs["model"],
                conf,
                config=options.options,
                output_dir=output_dir,
                writes=ranks.is_first(),
            )
        # One rank reads the files of an earlier run, before any resumes from them.
        resumed = ranks.of_first(partial(_resumed, options, output_dir, bar))
        if resumed is None:
            return
        last_epoch, curve = resumed
        changes: dict[str, Any] = {
            "bar": bar,
            "curve": curve,
            # ESPnet's averages between epochs would hold rounded frozen tensors.
            "nbest_averaging_interval": 0,
            "max_epoch": last_epoch,
        }
        try:
            super().run(**kwargs | {"trainer_options": dataclasses.replace(options, **changes)})
        except _Stopped as stopped:
            # ESPnet's averages are left out with it; `phase_end` writes exact ones.
            logging.info(f"top-down: {stopped}")
        if ranks.is_first():
            criteria = options.best_model_criterion
            phase_end.finish(begun, output_dir, criteria, counts, ngpu=options.ngpu)

    @classmethod
    def _run_as_espnet(cls, **kwargs: Any) -> None:
        """A training that is no phase, from what a kill has left of it."""
        options = kwargs["trainer_options"]
        output_dir = Path(options.output_dir)
        if _is_kept_whole(options):
            ranks.of_first(partial(_repaired, options, output_dir))
        super().run(**kwargs)
        if ranks.is_first():
            repair.clear(output_dir)

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
            if _is_kept_whole(options):
                return cls._train_on_from_gradients(**kwargs)
            return super().train_one_epoch(*args, **kwargs)
        _check_bar(options)
        before = kwargs["reporter"].get_total_count()
        learning_rates.log_rates_of_steps(kwargs["reporter"], kwargs["optimizers"])
        # ESPnet itself would warn, stop here and count the training as done.
        all_steps_are_invalid = cls._train_on_from_gradients(**kwargs)
        if all_steps_are_invalid:
            batches = kwargs["reporter"].get_total_count() - before
            # It is so on all ranks, whose gradients are shared.
            with ranks.together():
                raise TopdownError(_no_step(kwargs["reporter"].get_epoch(), batches, options))
        return all_steps_are_invalid

    @classmethod
    def _train_on_from_gradients(cls, **kwargs: Any) -> bool:
        """ESPnet's epoch, from the gradients that the one before has left."""
        output_dir = Path(kwargs["options"].output_dir)
        model, scaler = kwargs["model"], kwargs["scaler"]
        epoch = kwargs["reporter"].get_epoch()
        gradients.restore(model, output_dir, epoch, scaler)
        all_steps_are_invalid: bool = super().train_one_epoch(**kwargs)
        if ranks.is_first():
            gradients.keep(model, output_dir, epoch, scaler)
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
        is_phase = isinstance(options, TopdownOptions)
        if not is_phase and not _is_kept_whole(options):
            return
        if is_phase and options.bar is not None:
            with ranks.together():
                options.curve.append(_dev_value(options.bar, kwargs["reporter"].stats))
        if ranks.is_first():
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


def _check_bar(options: TopdownOptions) -> None:
    """End the training where its last epoch did not reach the bar.

    Asked at the start of the next one: by then ESPnet has saved the last. All ranks have the same
    values, since ESPnet averages them over ranks (train/trainer.py, validate_one_epoch).

    Raises:
        _Stopped: with the reason.
    """
    if options.bar is None:
        return
    epoch = options.bar.stops_at(options.curve)
    if epoch is not None:
        raise _Stopped(options.bar.told(options.curve, epoch))


def _dev_value(bar: Bar, stats: Mapping[str, Any]) -> float:
    """The dev criterion of an epoch, of which every batch's values are in `stats`.

    As ESPnet's reporter takes it at the end of the epoch (train/reporter.py, finish_epoch).
    """
    part, metric, _ = bar.criterion
    if metric not in stats:
        reported = ", ".join(sorted(stats))
        raise TopdownError(
            f"stop_early: the training reports no {part} {metric}; it reports {reported}"
        )
    return float(aggregate(stats[metric]))


def _is_kept_whole(options: TrainerOptions) -> bool:
    """Whether a training that is no phase goes on after a kill, from a directory that is repaired.

    A validation alone writes nowhere; with an adapter, files of epochs may hold it alone.
    """
    writes = options.output_dir is not None and options.resume
    return writes and not getattr(options, "use_adapter", False)


def _repaired(options: TrainerOptions, output_dir: Path) -> None:
    nbest = max(counts_of(options.keep_nbest_models))
    repair.repair(output_dir, options.best_model_criterion, nbest)


def _resumed(
    options: TrainerOptions, output_dir: Path, bar: Bar | None
) -> tuple[int, list[float]] | None:
    """The epoch to train to, and the dev criterion of those done where there is a bar.

    The directory is then ready to be resumed; None: all is proved. The epoch is `max_epoch`, or
    that at which an interrupted training had already stopped early: ESPnet <= 202511
    (train/trainer.py, run) would train one epoch more.
    """
    if phase_end.is_proved(output_dir):
        return None
    nbest = max(counts_of(options.keep_nbest_models))
    reporter = repair.repair(output_dir, options.best_model_criterion, nbest)
    if reporter is None or not options.resume:
        return options.max_epoch, []
    epochs = reporter.get_epoch()
    curve = []
    if bar is not None:
        part, metric, _ = bar.criterion
        curve = [reporter.get_value(part, metric, epoch) for epoch in range(1, epochs + 1)]
    is_patient = options.patience is not None
    criterion = options.early_stopping_criterion
    if is_patient and reporter.check_early_stopping(options.patience, *criterion):
        return epochs, curve
    return options.max_epoch, curve
