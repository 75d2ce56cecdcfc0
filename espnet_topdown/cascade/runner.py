"""Trains the phases of a cascade as processes: when each starts, and what is recorded of its end.

Resumes after a kill. Each training is an ordinary ESPnet run, of which this knows only the config,
the directory and the exit status; how it is started is `espnet_topdown.cascade.attempt`'s to say.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import locks
from espnet_topdown.cascade import attempt
from espnet_topdown.cascade.attempt import Attempt
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.run import check_begun, check_finished, check_first
from espnet_topdown.cascade.fresh_report import FreshReport
from espnet_topdown.cascade.header import fixed_lstm, fixed_threads
from espnet_topdown.cascade.judgement import Judgement
from espnet_topdown.cascade.launch import Launch, check_base, default_threads, failure
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.measuring import judge_all, measure_base
from espnet_topdown.cascade.order import ready, waits_of
from espnet_topdown.cascade.other_data import prepare
from espnet_topdown.cascade.progress import Display
from espnet_topdown.cascade.prune import prune
from espnet_topdown.cascade.records import make_record
from espnet_topdown.cascade.redo import set_aside
from espnet_topdown.cascade.text import plan_table
from espnet_topdown.check import mapping_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import write_record
from espnet_topdown.locks import reading
from espnet_topdown.plan.plan import Phase


def run(
    cascade: Cascade,
    launch: Launch,
    *,
    first: str | None = None,
    keep_epochs: int | None = None,
    redo: Sequence[str] = (),
    with_report: bool = False,
) -> Judgement:
    """Train every phase that is not finished, in the plan's order, and return the judgement of all.

    A rerun after a finished cascade trains nothing; after an interruption it goes on where it was.

    Args:
        cascade: base, plan and places.
        launch: how to start a training.
        first: name or number of the phase to go on with; those before it must be finished.
        keep_epochs: finished phases are pruned (see `espnet_topdown.cascade.prune`); None keeps
            every file.
        redo: names or numbers of phases that are set aside and trained anew.
        with_report: the cascade's pages are written after each phase.

    Raises:
        TopdownError: another run holds the directory, what a finished or interrupted phase depends
            on changed, a phase cannot be redone, or a phase failed (after the others that do not
            need it were trained).
    """
    check_base(launch, cascade.base)
    with locks.locked(cascade.paths.lock, "cascade"), reading(_data_directories(cascade)):
        # Read under the lock: from here on only this process makes records.
        Ledger(cascade.paths.ledger).close_dangling()
        records = cascade.read_records()
        if redo:
            set_aside(cascade, records, redo)
            records = cascade.read_records()
        check_finished(cascade, records)
        check_begun(cascade, records)
        if first is not None:
            check_first(cascade, records, first)
        cascade.store()
        prepare(cascade, launch)
        measure_base(cascade, launch, slot=0)
        this = _Run(cascade, launch, records, keep_epochs, with_report=with_report)
        # Left by an exception, the pages stay as they are.
        with this.report:
            this.train()
        return this.close()


def _data_directories(cascade: Cascade) -> list[Path]:
    """Where a recipe's script may have put what the base and the phases read."""
    readers: list[Phase | None] = [None, *cascade.phases]
    lists = {Path(file) for reader in readers for file in cascade.base.lists(reader)}
    # The lists stand there, in dump/raw/train, or the statistics in exp/asr_stats/train.
    return sorted({place for file in lists for place in file.parents[:2]})


class _Run:
    """One run over a cascade. Each of its phases is in one of five states.

    waiting: in none of the collections below. It starts once it is `ready` and a place is free.
    running: in `trainings`. Its process lives, or has ended and was not looked at yet.
    finished: in `records`, by this run or an earlier one. It is never trained again.
    failed: in `failures`, with the reason. Only the next command tries it again; until then, what
        needs it as a parent keeps waiting.
    skipped: left out by the stopping rule. The judgement says so, each time anew.
    """

    def __init__(
        self,
        cascade: Cascade,
        launch: Launch,
        records: dict[str, dict[str, Any]],
        keep_epochs: int | None,
        *,
        with_report: bool,
    ) -> None:
        self.cascade = cascade
        self.launch = launch
        self.keep_epochs = keep_epochs
        self.records = records
        self.waits = waits_of(cascade.phases, cascade.plan)
        self.trainings: dict[str, Attempt] = {}
        self.failures: dict[str, str] = {}
        self.ledger = Ledger(cascade.paths.ledger)
        self.lstm = fixed_lstm(cascade.paths)
        default = default_threads(launch)
        self.threads = fixed_threads(cascade.paths, launch.threads, default, self.lstm)
        self.display = Display(cascade)
        self.report = FreshReport(cascade.paths.directory, self.display.say, is_wanted=with_report)
        self.finished_before = len(records)

    def train(self) -> None:
        """Start what can start, wait until one training ends, and so on until neither is left."""
        try:
            while True:
                free = self.launch.jobs - len(self.trainings)
                for phase in self._ready()[:free]:
                    self._start(phase)
                if self.trainings:
                    # The end of one can make others ready, so all are looked at again.
                    self._finish(self._next_to_end())
                elif not self._ready():
                    # What still waits is skipped, or needs a phase that failed.
                    break
        finally:
            self._interrupt()
            self.display.close()

    def _ready(self) -> list[Phase]:
        return ready(
            self.cascade.phases,
            self.waits,
            finished=self.records,
            failed=self.failures,
            running=self.trainings,
            skipped=self.cascade.judge(self.records).skipped,
        )

    def _start(self, phase: Phase) -> None:
        attempt.wait_for_orphan(self.cascade.paths.phase_dir(phase.name))
        self.ledger.close(phase.name)
        try:
            attempt.begin(self.cascade, phase, self.records)
        except TopdownError as error:
            # Others may go on.
            self.failures[phase.name] = str(error)
            self.display.failed(phase, str(error))
            return
        self.display.started(phase)
        self.trainings[phase.name] = attempt.start(
            self.cascade,
            phase,
            self.records,
            self.launch,
            slot=self._free_slot(),
            threads=self.threads,
            lstm=self.lstm,
        )

    def _free_slot(self) -> int:
        """The first place that no training has, so that no two share a GPU."""
        taken = {training.slot for training in self.trainings.values()}
        return min(set(range(self.launch.jobs)) - taken)

    def _next_to_end(self) -> Attempt:
        """Wait until a training ends, and show progress meanwhile; it is no longer running then."""
        while True:
            for training in self.trainings.values():
                if training.handle.poll() is not None:
                    return self.trainings.pop(training.phase.name)
            self.report.look()
            self.display.update([training.phase for training in self.trainings.values()])
            time.sleep(attempt.POLL_S)

    def _finish(self, training: Attempt) -> None:
        """Record the phase, or what stopped it."""
        phase = training.phase
        status = training.handle.poll()
        if status != 0:
            self._give_up(training, status)
            return
        hours = self.ledger.hours(phase.name) + training.wall_s / 3600
        try:
            record = make_record(
                self.cascade, phase, self.records, hours=hours, threads=self.threads
            )
        except TopdownError as error:
            self._fail(training, str(error), "failed")
            return
        record |= {"ngpu": self.launch.ngpu, "num_nodes": self.launch.num_nodes}
        # Before the ledger's event: the record alone makes the phase finished.
        write_record(training.directory, record)
        self.records[phase.name] = record
        # Not those of the log: one that resumed after the last epoch tells none.
        stop = mapping_in(record, "stop")
        why = {"stopped": stop["reason"]} if stop.get("reason") else {}
        training.end(self.ledger, "done", epochs=record["epochs"], **why)
        judgement = self._settle()
        self.display.finished(phase, judgement, why.get("stopped"))
        self.report.renew()

    def _give_up(self, training: Attempt, status: int | None) -> None:
        """Tell why a training ended early; the phase waits again where it only gave way."""
        reason = failure(training.directory, status)
        if training.gave_way(reason):
            # The phase is started again, and `_start` waits for the trainer that has the lock.
            training.end(self.ledger, "gave way")
            return
        is_killed = status is not None and status < 0
        self._fail(training, reason, "killed" if is_killed else "failed", status=status)

    def _fail(self, training: Attempt, reason: str, outcome: str, **details: Any) -> None:
        command = self.cascade.redo_command([training.phase.name])
        if outcome == "failed" and command not in reason:
            reason += f"\n    with other settings, train it anew: {command}"
        self.failures[training.phase.name] = reason
        training.end(self.ledger, outcome, reason=reason, **details)
        self.display.failed(training.phase, reason)

    def _interrupt(self) -> None:
        """End what is still running; nothing is, unless an exception is on its way."""
        for training in self.trainings.values():
            training.terminate()
            training.end(self.ledger, "interrupted")

    def _settle(self) -> Judgement:
        """Judge, link the best phase, and remove what finished phases no longer need."""
        judgement = judge_all(self.cascade, self.records, self.launch, slot=self._free_slot())
        self.cascade.paths.link_best(judgement.best)
        if self.keep_epochs is not None:
            prune(self.cascade, self.records, self.keep_epochs)
        return judgement

    def close(self) -> Judgement:
        """Tell what came out.

        Raises:
            TopdownError: phases failed.
        """
        judgement = self._settle()
        if self.failures:
            lines = [f"  {name}: {reason}" for name, reason in self.failures.items()]
            done = {*self.records, *self.failures, *judgement.skipped}
            waiting = [phase.name for phase in self.cascade.phases if phase.name not in done]
            if waiting:
                lines.append(f"  and these wait for them: {', '.join(waiting)}")
            raise TopdownError("\n".join([f"{len(self.failures)} phase(s) failed:", *lines]))
        if len(self.records) == self.finished_before:
            print(f"nothing to do: all phases in {self.cascade.paths.directory} are finished")
        print(plan_table(self.cascade, self.records, judgement))
        return judgement
