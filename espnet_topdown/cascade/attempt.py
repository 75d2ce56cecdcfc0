"""One attempt to train a phase: begun, started, and its end told to the ledger.

Which phase, and when, is the runner's to say; how a process is started is
`espnet_topdown.cascade.launch`'s.
"""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import files, gpus, locks, warm
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.launch import Launch, gpu_share, start_training
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.phase_config import check_as_begun, key, phase_config
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import (
    LOCK,
    START,
    holds_training,
    read_begun,
    write_begun,
)
from espnet_topdown.experiment.train_log import finished_epochs
from espnet_topdown.plan.plan import Phase

POLL_S = 0.2


@dataclass
class Attempt:
    """A training under way.

    Args:
        phase: what is trained.
        directory: of the phase.
        handle: of its process.
        number: how often the phase was started, this time included.
        slot: its place among the trainings side by side, from 0.
        began: monotonic time of its start, in seconds.
    """

    phase: Phase
    directory: Path
    handle: warm.Handle | warm.Group
    number: int
    slot: int
    began: float = field(default_factory=time.monotonic)

    @property
    def wall_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.began

    def gave_way(self, reason: str) -> bool:
        """Whether an earlier run's trainer took the lock after the runner had looked.

        Args:
            reason: what it ended with.
        """
        lock_dir = (self.directory / LOCK).parent
        return f"{lock_dir} {locks.IN_USE}" in reason

    def terminate(self) -> None:
        """End its process."""
        self.handle.terminate()

    def end(
        self, ledger: Ledger, outcome: str, *, epochs: int | None = None, **details: Any
    ) -> None:
        """Tell the ledger how it ended; `epochs` None: those that its log tells."""
        if epochs is None:
            epochs = finished_epochs(self.directory)
        ledger.append(
            "end",
            self.phase.name,
            attempt=self.number,
            outcome=outcome,
            wall_s=round(self.wall_s, 3),
            epochs=epochs,
            **details,
        )


def begin(cascade: Cascade, phase: Phase, records: Records) -> None:
    """Say what a phase is begun with, or see that it is what an interrupted one was.

    Raises:
        TopdownError: it was begun with something else, or nothing tells with what.
    """
    directory = cascade.paths.phase_dir(phase.name)
    check_as_begun(cascade, phase, records)
    if read_begun(directory) is not None:
        return
    if holds_training(directory) and not (directory / START).exists():
        raise TopdownError(
            f"{directory} holds a training, and nothing tells what it was begun with; train the"
            f" phase anew with\n    {cascade.redo_command([phase.name])}"
        )
    # A trainer's own start.json, where there is one, is compared by the next trainer.
    write_begun(directory, key(cascade, phase, records))


def start(
    cascade: Cascade,
    phase: Phase,
    records: Records,
    launch: Launch,
    *,
    slot: int,
    threads: int,
    lstm: str,
) -> Attempt:
    """Start the training of a phase that is begun, and tell the ledger.

    Args:
        cascade: whose phase it is.
        phase: not finished, and its parent is.
        records: of the finished phases.
        launch: how to start it.
        slot: its place among the trainings side by side, from 0.
        threads: torch's.
        lstm: ESPNET_TOPDOWN_LSTM.
    """
    directory = cascade.paths.phase_dir(phase.name)
    config = phase_config(cascade, phase, records)
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    files.write_text(directory / "phase.yaml", text)
    ledger = Ledger(cascade.paths.ledger)
    number = ledger.attempts(phase.name) + 1
    share = gpu_share(launch, slot, os.environ.get(gpus.VARIABLE))
    # Told before it happens: a kill in between leaves an attempt that `close_dangling` ends.
    places = {"threads": threads, "ngpu": launch.ngpu, "num_nodes": launch.num_nodes}
    ledger.append("start", phase.name, attempt=number, **places, **share)
    warm.rotate(directory / "train.log")
    task = cascade.base.task
    variables = {**share, warm.LSTM: lstm}
    handle = start_training(launch, task, directory, threads=threads, variables=variables)
    return Attempt(phase=phase, directory=directory, handle=handle, number=number, slot=slot)


def wait_for_orphan(directory: Path) -> None:
    """Wait for the trainer that a killed runner may have left in `directory`.

    It is let finish, since a second writer beside it would spoil both.
    """
    owner = locks.holder(directory / LOCK)
    if owner is not None:
        print(
            f"{directory}: still trained by {owner}, which an earlier run left; waiting for it",
            file=sys.stderr,
        )
    while locks.holder(directory / LOCK) is not None:
        time.sleep(POLL_S)
