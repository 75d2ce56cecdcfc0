"""ESPnet2 tasks that train with `TopdownTrainer`.

Subclasses in an importable module, so that the workers that ESPnet spawns for several GPUs find
them by name; a patched class attribute would be lost there (espnet2/tasks/abs_task.py, main).
"""

import argparse
from pathlib import Path

from espnet2.tasks.abs_task import AbsTask
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


class TopdownTask(AbsTask):
    """Put before an ESPnet task: our trainer, a lock on a phase's directory, and untying."""

    trainer = TopdownTrainer

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """ESPnet's worker; a phase's first rank holds the lock of its output directory meanwhile.

        Weights that ESPnet ties are untied before the model is built, if the phase says so.

        Raises:
            TopdownError: a faulty `topdown_conf`, one beside an adapter, a model without such a
                tie, or a directory in which another process trains.
        """
        trains = not args.collect_stats and not args.dry_run
        if not args.topdown_conf or not trains:
            super().main_worker(args)
            return
        # Before ESPnet builds the adapter, which may need a package that is not there.
        if vars(args).get("use_adapter"):
            raise TopdownError(
                "topdown_conf and use_adapter exclude one another: an adapter renames the layers;"
                " train without it (use_adapter: false)"
            )
        conf = TopdownConf.from_conf(args.topdown_conf)
        if conf.unties:
            untie(vars(args))
        is_first = not args.distributed or args.dist_rank in (0, None)
        if not is_first:
            super().main_worker(args)
            return
        with files.locked(Path(args.output_dir) / LOCK, "training"):
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
