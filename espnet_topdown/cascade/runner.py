"""Trains the phases of a cascade as processes: when each starts, and what is recorded of its end.

Resumes after a kill. Each training is an ordinary ESPnet run, of which this knows only the config,
the directory and the exit status; how it is started is `espnet_topdown.cascade.launch`'s to say.
"""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import check, files, warm
from espnet_topdown.cascade import consistency
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Judgement
from espnet_topdown.cascade.launch import (
    Launch,
    default_threads,
    failure,
    gpu_share,
    start_training,
)
from espnet_topdown.cascade.ledger import Ledger, finished_epochs
from espnet_topdown.cascade.progress import Display
from espnet_topdown.cascade.prune import prune
from espnet_topdown.cascade.text import plan_table
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment import phase_dir
from espnet_topdown.experiment.phase_dir import EPOCHS, LOCK, PROOF
from espnet_topdown.plan.plan import BASE, Phase

POLL_S = 0.2


def run(
    cascade: Cascade, launch: Launch, *, first: str | None = None, keep_epochs: int | None = None
) -> Judgement:
    """Train every phase that is not finished, in the plan's order, and return the judgement of all.

    A rerun after a finished cascade trains nothing; after an interruption it goes on where it was.

    Args:
        cascade: base, plan and places.
        launch: how to start a training.
        first: name or number of the phase to go on with; those before it must be finished.
        keep_epochs: finished phases are pruned (see `espnet_topdown.cascade.prune`); None keeps
            every file.

    Raises:
        TopdownError: another run holds the directory, a finished phase's key changed, or a phase
            failed (after the others that do not need it were trained).
    """
    with files.locked(cascade.paths.lock, "cascade"):
        # Read under the lock: from here on only this process makes records.
        records = cascade.read_records()
        consistency.check_finished(cascade, records)
        if first is not None:
            consistency.check_first(cascade, records, first)
        cascade.store()
        Ledger(cascade.paths.ledger).close_dangling()
        return _Run(cascade, launch, records, keep_epochs).run()


@dataclass
class _Training:
    """A training under way.

    Args:
        phase: what is trained.
        handle: of its process.
        attempt: how often the phase was started, this time included.
        slot: its place among the trainings side by side, from 0.
        began: monotonic time of its start, in seconds.
    """

    phase: Phase
    handle: warm.Handle | warm.Group
    attempt: int
    slot: int
    began: float = field(default_factory=time.monotonic)

    @property
    def wall_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.began


class _Run:
    """One run over a cascade. Each of its phases is in one of five states.

    waiting: in none of the collections below. It starts once its parent is finished, its turn has
        come (`_can_start`) and a place is free.
    running: in `trainings`. Its process lives, or has ended and was not looked at yet.
    finished: in `records`, by this run or an earlier one. It is never trained again.
    failed: in `failures`, with the reason. Only the next command tries it again, and what needs it
        as a parent waits for ever.
    skipped: waiting, and left out by the stopping rule. The judgement says so, anew each time.
    """

    def __init__(
        self,
        cascade: Cascade,
        launch: Launch,
        records: dict[str, dict[str, Any]],
        keep_epochs: int | None,
    ) -> None:
        self.cascade = cascade
        self.launch = launch
        self.keep_epochs = keep_epochs
        self.records = records
        self.trainings: dict[str, _Training] = {}
        self.failures: dict[str, str] = {}
        self.ledger = Ledger(cascade.paths.ledger)
        self.threads = consistency.fixed_threads(cascade, launch.threads, default_threads(launch))
        self.display = Display(cascade)

    def run(self) -> Judgement:
        """Start what can start, wait until one training ends, and so on until neither is left."""
        finished_before = len(self.records)
        try:
            while True:
                ready = self._ready()
                if not ready and not self.trainings:
                    # What still waits is skipped, or needs a phase that failed.
                    break
                free = self.launch.jobs - len(self.trainings)
                for phase in ready[:free]:
                    self._start(phase)
                # The end of one can make others ready, so all are looked at again.
                self._finish(self._next_to_end())
        finally:
            self._interrupt()
            self.display.close()
        return self._close(finished_before)

    # -- what can start

    def _ready(self) -> list[Phase]:
        """Phases that can start now, in the plan's order."""
        skipped = self.cascade.judge(self.records).skipped
        waiting = [phase for phase in self.cascade.phases if phase.name not in skipped]
        return [phase for phase in waiting if self._can_start(phase)]

    def _can_start(self, phase: Phase) -> bool:
        if phase.name in self.trainings or self._has_ended(phase):
            return False
        if phase.parent == "best":
            # The best of all before it: known when they have ended.
            return self._is_its_turn(phase)
        if phase.parent != BASE and phase.parent not in self.records:
            return False
        # Controls and a sweep's phases neither wait for a decision nor bear on one.
        is_independent = phase.is_control or phase.in_sweep
        return is_independent or self._is_its_turn(phase)

    def _is_its_turn(self, phase: Phase) -> bool:
        """Whether every candidate before it has ended, so that the stopping rule was applied."""
        before = self.cascade.phases[: self.cascade.phases.index(phase)]
        return all(self._has_ended(earlier) for earlier in before if not earlier.is_control)

    def _has_ended(self, phase: Phase) -> bool:
        return phase.name in self.records or phase.name in self.failures

    # -- from start to end

    def _start(self, phase: Phase) -> None:
        directory = self.cascade.paths.phase_dir(phase.name)
        _wait_for_orphan(directory)
        config = self.cascade.phase_config(phase, self.records)
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        files.write_text(directory / "phase.yaml", text)
        attempt = self.ledger.attempts(phase.name) + 1
        slot = self._free_slot()
        gpus = gpu_share(self.launch, slot, os.environ.get("CUDA_VISIBLE_DEVICES"))
        # Told before it happens: a kill in between leaves an attempt that `close_dangling` ends.
        self.ledger.append("start", phase.name, attempt=attempt, threads=self.threads, **gpus)
        warm.rotate(directory / "train.log")
        self.display.started(phase)
        task = self.cascade.base.task
        handle = start_training(self.launch, task, directory, threads=self.threads, variables=gpus)
        self.trainings[phase.name] = _Training(phase, handle, attempt, slot)

    def _free_slot(self) -> int:
        """The first place that no training has, so that no two share a GPU."""
        taken = {training.slot for training in self.trainings.values()}
        return min(set(range(self.launch.jobs)) - taken)

    def _next_to_end(self) -> _Training:
        """Wait until a training ends, and show progress meanwhile; it is no longer running then."""
        while True:
            for training in self.trainings.values():
                if training.handle.poll() is not None:
                    return self.trainings.pop(training.phase.name)
            self.display.update([training.phase for training in self.trainings.values()])
            time.sleep(POLL_S)

    def _finish(self, training: _Training) -> None:
        """Record the phase, or what stopped it."""
        phase = training.phase
        status = training.handle.poll()
        if status != 0:
            self._give_up(training, status)
            return
        try:
            record = self._record(training)
        except TopdownError as error:
            self._fail(training, str(error), "failed")
            return
        # The record comes before the ledger: it alone makes the phase finished.
        phase_dir.write_record(self.cascade.paths.phase_dir(phase.name), record)
        self.records[phase.name] = record
        self._end(training, "done", epochs=record["epochs"])
        judgement = self._settle()
        self.display.finished(phase, judgement)

    def _give_up(self, training: _Training, status: int | None) -> None:
        """Tell why a training ended early; the phase waits again where it only gave way."""
        directory = self.cascade.paths.phase_dir(training.phase.name)
        reason = failure(directory)
        lock_dir = (directory / LOCK).parent
        if f"{lock_dir} {files.IN_USE}" in reason:
            # An earlier run's trainer took the lock after `_start` had looked. The phase is
            # started again, and `_start` waits for that trainer.
            self._end(training, "gave way")
            return
        is_killed = status is not None and status < 0
        self._fail(training, reason, "killed" if is_killed else "failed", status=status)

    def _fail(self, training: _Training, reason: str, outcome: str, **details: Any) -> None:
        self.failures[training.phase.name] = reason
        self._end(training, outcome, **details)
        self.display.failed(training.phase, reason)

    def _end(self, training: _Training, outcome: str, **details: Any) -> None:
        """Tell the ledger how an attempt ended."""
        name = training.phase.name
        epochs = finished_epochs(self.cascade.paths.phase_dir(name))
        self.ledger.append(
            "end",
            name,
            attempt=training.attempt,
            outcome=outcome,
            wall_s=round(training.wall_s, 3),
            **{"epochs": epochs, **details},
        )

    def _record(self, training: _Training) -> dict[str, Any]:
        """What is recorded of a finished phase; its trainer has left epochs and proof.

        Raises:
            TopdownError: the dev criterion is not finite in every epoch.
        """
        phase = training.phase
        directory = self.cascade.paths.phase_dir(phase.name)
        rows = files.read_json(directory / EPOCHS)
        proof = files.read_json(directory / PROOF)
        criterion = self.cascade.criterion
        curve = criterion.curve(rows)
        diverged = [epoch for epoch, value in enumerate(curve, 1) if not check.is_number(value)]
        if diverged or not curve:
            epoch = diverged[0] if diverged else 1
            raise TopdownError(
                f"{phase.name}: the dev criterion {criterion.name} is not finite in epoch {epoch}:"
                " training has diverged. Lower its learning rate"
            )
        parent = self.cascade.parent_dir(phase, self.records)
        return {
            "phase": phase.name,
            "kind": phase.kind,
            "cut": phase.cut,
            "seed": phase.seed,
            "parent": self.cascade.paths.relative(parent),
            "key": consistency.key(self.cascade, phase, self.records),
            "dev": {"criterion": list(criterion), "curve": curve},
            "epochs": len(rows),
            "hours": self.ledger.hours(phase.name) + training.wall_s / 3600,
            "threads": self.threads,
            "files": proof["files"],
            "model_sha256": files.sha256(directory / self.cascade.parent_model),
            "unmoved": proof["unmoved"],
            "finished": files.now(),
        }

    # -- the end of the run

    def _interrupt(self) -> None:
        """End what is still running; nothing is, unless an exception is on its way."""
        for training in self.trainings.values():
            try:
                training.handle.terminate()
            except TopdownError as error:  # the warm process died, and its children with it
                print(error, file=sys.stderr)
            self._end(training, "interrupted")

    def _settle(self) -> Judgement:
        """Judge, link the best phase, and remove what finished phases no longer need."""
        judgement = self.cascade.judge(self.records)
        self.cascade.paths.link_best(judgement.best)
        if self.keep_epochs is not None:
            prune(self.cascade, self.records, self.keep_epochs)
        return judgement

    def _close(self, finished_before: int) -> Judgement:
        """Tell what came out.

        Raises:
            TopdownError: phases failed.
        """
        judgement = self._settle()
        if self.failures:
            lines = "\n".join(f"  {name}: {reason}" for name, reason in self.failures.items())
            raise TopdownError(f"{len(self.failures)} phase(s) failed:\n{lines}")
        if len(self.records) == finished_before:
            print(f"nothing to do: all phases in {self.cascade.paths.directory} are finished")
        print(plan_table(self.cascade, self.records, judgement))
        return judgement


def _wait_for_orphan(directory: Path) -> None:
    """Wait for the trainer that a killed runner may have left in `directory`.

    It is let finish, since a second writer beside it would spoil both.
    """
    owner = files.holder(directory / LOCK)
    if owner is not None:
        print(
            f"{directory}: still trained by {owner}, which an earlier run left; waiting for it",
            file=sys.stderr,
        )
    while files.holder(directory / LOCK) is not None:
        time.sleep(POLL_S)
