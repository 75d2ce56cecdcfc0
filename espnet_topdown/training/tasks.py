"""ESPnet2 tasks that train with `TopdownTrainer`.

Subclasses in an importable module, so that the workers that ESPnet spawns for several GPUs find
them by name; a patched class attribute would be lost there (espnet2/tasks/abs_task.py, main).
"""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from espnet2.tasks.asr import ASRTask
from espnet2.tasks.mt import MTTask
from espnet2.tasks.s2t import S2TTask
from espnet2.tasks.slu import SLUTask
from espnet2.tasks.st import STTask

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.experiment.phase_dir import LOCK
from espnet_topdown.lm.task import StreamLMTask
from espnet_topdown.lm.trainer import StreamTrainer
from espnet_topdown.plan.ties import untie
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training.trainer import TopdownTrainer


class TopdownTask:
    """Mixin for an ESPnet task.

    The trainer, the lock of a phase's directory, and untying before the model is built.
    """

    trainer = TopdownTrainer

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """ESPnet's worker.

        A phase's first rank holds the lock of its output directory for as long as it lives.
        """
        trains = bool(args.topdown_conf) and not args.collect_stats and not args.dry_run
        if not trains:
            super().main_worker(args)
            return
        settings = TopdownConf.from_conf(args.topdown_conf)
        if settings.unties:
            untie(vars(args))
        is_first = not args.distributed or args.dist_rank in (0, None)
        lock: Any = (
            files.locked(Path(args.output_dir) / LOCK, "training")
            if is_first
            else contextlib.nullcontext()
        )
        with lock:
            super().main_worker(args)


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


def task_of(name: str) -> Any:
    """The task class for ESPnet's name of it (``asr`` for ``espnet2.bin.asr_train``).

    Raises:
        TopdownError: a task that is not trained here.
    """
    if name not in _TASKS:
        raise TopdownError(f"the task '{name}' is not trained top-down; {nearest(name, _TASKS)}")
    return _TASKS[name]
