"""The cascade.

Trains the phases of a plan as processes, records them, decides what is accepted, resumes after a
kill.

It knows of a phase only its parent's file, its settings and its directory; each training is an
ordinary ESPnet run.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import files, warm
from espnet_topdown.cascade import ledger
from espnet_topdown.cascade.cascade import Cascade, Judgement
from espnet_topdown.cascade.progress import Display
from espnet_topdown.cascade.prune import prune
from espnet_topdown.cascade.text import plan_table
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment import phase_dir
from espnet_topdown.experiment.phase_dir import EPOCHS, LOCK, PROOF
from espnet_topdown.plan.plan import BASE, Phase

POLL_S = 0.2
FULL_BYTES = 1_000_000  # less is left where a training has just died of a full disk


@dataclass(frozen=True)
class Launch:
    """How trainings are started.

    Args:
        ngpu: GPUs of one training.
        num_nodes: nodes of one training.
        cmd: a Kaldi-style command prefix (``slurm.pl --mem 8G``); None starts it on this machine
            from a warm process.
        python: interpreter, used with `cmd`.
        jobs: independent phases at a time.
        threads: torch's threads of each training; None: OMP_NUM_THREADS, else 1 with `cmd`, else
            the CPUs over `jobs`.
    """

    ngpu: int = 0
    num_nodes: int = 1
    cmd: str | None = None
    python: str = "python3"
    jobs: int = 1
    threads: int | None = None


@dataclass
class Running:
    """A phase under way: its process, when it was started, and for which attempt."""

    phase: Phase
    handle: Any
    attempt: int
    slot: int
    began: float = field(default_factory=time.monotonic)


def run(
    cascade: Cascade, launch: Launch, *, first: str | None = None, keep_epochs: int | None = None
) -> Judgement:
    """Train every phase that is not finished, in the plan's order, and return the judgement of all.

    A rerun after a finished cascade trains nothing; after an interruption it goes on where it was.

    Args:
        cascade: base, plan and directory.
        launch: how to start a training.
        first: name or number of the phase to go on with; those before it must be finished.
        keep_epochs: finished phases are pruned (see `espnet_topdown.cascade.prune`); None keeps
            every file.

    Raises:
        TopdownError: another run holds the directory, a finished phase's key changed, or a phase
            failed (after the others that do not need it were trained).
    """
    with files.locked(cascade.directory / ".lock", "cascade"):
        cascade.check_finished()
        cascade.check_first(first)
        cascade.store()
        cascade.ledger.close_dangling()
        return _Run(cascade, launch, keep_epochs).run()


class _Run:
    """One run over a cascade; holds what is under way."""

    def __init__(self, cascade: Cascade, launch: Launch, keep_epochs: int | None) -> None:
        self.cascade, self.launch, self.keep_epochs = cascade, launch, keep_epochs
        self.threads = cascade.fixed_threads(launch.threads, default_threads(launch))
        self.running: dict[str, Running] = {}
        self.failed: dict[str, str] = {}
        self.display = Display(cascade)

    def run(self) -> Judgement:
        before = sum(self.cascade.is_done(phase) for phase in self.cascade.phases)
        try:
            while (ready := self._ready()) or self.running:
                for phase in ready[: self.launch.jobs - len(self.running)]:
                    self._start(phase)
                self._wait()
        finally:
            for run in self.running.values():
                try:
                    run.handle.terminate()
                except TopdownError as error:  # the warm process died, and its children with it
                    print(error, file=sys.stderr)
                self._end(run, "interrupted")
            self.display.close()
        return self._close(before)

    def _ready(self) -> list[Phase]:
        """Phases that can start now, in the plan's order."""
        judgement = self.cascade.judge()
        waiting = [
            p
            for p in self.cascade.phases
            if p.name not in self.running and p.name not in self.failed
        ]
        found = []
        for phase in waiting:
            if self.cascade.is_done(phase) or phase.name in judgement.skipped:
                continue
            if self._parent_ready(phase) and (
                phase.is_control or phase.in_sweep or self._turn(phase)
            ):
                found.append(phase)
        return found

    def _parent_ready(self, phase: Phase) -> bool:
        if phase.parent == "best":
            return self._turn(phase)
        return phase.parent == BASE or self.cascade.is_done(self.cascade.phase(phase.parent))

    def _turn(self, phase: Phase) -> bool:
        """Whether every top-down phase before this one has ended, so that the stopping rule has
        been applied.
        """
        before = [
            p for p in self.cascade.phases[: self.cascade.phases.index(phase)] if not p.is_control
        ]
        return all(self.cascade.is_done(p) or p.name in self.failed for p in before)

    def _start(self, phase: Phase) -> None:
        directory = self.cascade.phase_dir(phase)
        self._wait_for_orphan(directory)
        config = self.cascade.phase_config(phase, self.cascade.settings(phase))
        directory.mkdir(parents=True, exist_ok=True)
        files.write_text(
            directory / "phase.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        )
        attempt = self.cascade.ledger.attempts(phase.name) + 1
        slot = min(set(range(self.launch.jobs)) - {run.slot for run in self.running.values()})
        share = gpu_share(self.launch, slot, os.environ.get("CUDA_VISIBLE_DEVICES"))
        self.cascade.ledger.append(
            "start", phase.name, attempt=attempt, threads=self.threads, **share
        )
        warm.rotate(directory / "train.log")
        self.display.started(phase)
        self.running[phase.name] = Running(phase, self._launch(directory, share), attempt, slot)

    def _launch(self, directory: Path, share: Mapping[str, str]) -> Any:
        module, task = "espnet_topdown.bin.train", self.cascade.base.task
        argv = [
            task,
            "--config",
            str(directory / "phase.yaml"),
            "--output_dir",
            str(directory),
            "--resume",
            "true",
        ]
        log = directory / "train.log"
        if self.launch.cmd is None and self.launch.ngpu <= 1:
            command = warm.Command(module, [*argv, "--ngpu", str(self.launch.ngpu)], log)
            return warm.start(command, threads=self.threads, variables=share)
        words = [*self.launch.python.split(), "-m", "espnet2.bin.launch", "--log", str(log)]
        words += ["--cmd", self.launch.cmd or f"{self.launch.python} -m espnet_topdown.warm"]
        words += ["--ngpu", str(self.launch.ngpu), "--num_nodes", str(self.launch.num_nodes)]
        words += [
            "--init_file_prefix",
            str(directory / ".dist_init_"),
            "--multiprocessing_distributed",
            "true",
            "--",
        ]
        words += [
            "env",
            f"OMP_NUM_THREADS={self.threads}",
            *self.launch.python.split(),
            "-m",
            module,
            *argv,
        ]
        return warm.start(
            warm.Command(None, words, directory / "launch.log"),
            threads=self.threads,
            variables=share,
        )

    def _wait_for_orphan(self, directory: Path) -> None:
        """A killed runner may have left its trainer alive.

        Let it finish rather than start a second writer.
        """
        said = False
        while owner := files.holder(directory / LOCK):
            if not said:
                print(
                    f"{directory}: still trained by {owner}, which an earlier run left; waiting"
                    " for it",
                    file=sys.stderr,
                )
                said = True
            time.sleep(POLL_S)

    def _wait(self) -> None:
        """Until a phase ends; shows progress meanwhile."""
        while self.running:
            for run in [r for r in self.running.values() if r.handle.poll() is not None]:
                del self.running[run.phase.name]
                self._finish(run)
                return
            self.display.update([run.phase for run in self.running.values()])
            time.sleep(POLL_S)

    def _finish(self, run: Running) -> None:
        """Record the phase, or what stopped it."""
        phase, code = run.phase, run.handle.poll()
        if code != 0:
            reason = failure(self.cascade.phase_dir(phase))
            in_use = f"{(self.cascade.phase_dir(phase) / LOCK).parent} {files.IN_USE}"
            if (
                in_use in reason
            ):  # an earlier run's trainer took the lock after we had looked; `_start` waits for it
                self._end(run, "gave way")
                return
            self.failed[phase.name] = reason
            self._end(run, "failed" if code > 0 else "killed", status=code)
            self.display.failed(phase, self.failed[phase.name])
            return
        try:
            epochs = self._record(phase, run)
        except TopdownError as error:
            self.failed[phase.name] = str(error)
            self._end(run, "failed")
            self.display.failed(phase, str(error))
            return
        self._end(run, "done", epochs=epochs)
        self.cascade.link_best()
        self._prune()
        self.display.finished(phase)

    def _record(self, phase: Phase, run: Running) -> int:
        directory = self.cascade.phase_dir(phase)
        rows, proof = files.read_json(directory / EPOCHS), files.read_json(directory / PROOF)
        curve = self.cascade.curve(rows)
        if not curve or any(value is None or not math.isfinite(value) for value in curve):
            raise TopdownError(
                f"{phase.name}: the dev criterion {self.cascade.dev_name} is not finite in epoch"
                f" {1 + next((n for n, v in enumerate(curve) if v is None), 0)}: training has"
                " diverged. Lower its learning rate"
            )
        wall_s = time.monotonic() - run.began
        record = {
            "phase": phase.name,
            "kind": phase.kind,
            "cut": phase.cut,
            "seed": phase.seed,
            "parent": os.path.relpath(self.cascade.parent_dir(phase), self.cascade.directory),
            "key": self.cascade.key(phase),
            "dev": {"criterion": list(self.cascade.dev), "curve": curve},
            "epochs": len(rows),
            "hours": self.cascade.ledger.hours(phase.name) + wall_s / 3600,
            "threads": self.threads,
            "files": proof["files"],
            "model_sha256": files.sha256(directory / self.cascade.parent_model),
            "unmoved": proof["unmoved"],
            "finished": files.now(),
        }
        phase_dir.write_record(directory, record)
        return len(rows)

    def _end(self, run: Running, outcome: str, **details: Any) -> None:
        details = {"epochs": ledger.finished_epochs(self.cascade.phase_dir(run.phase))} | details
        wall_s = round(time.monotonic() - run.began, 3)
        self.cascade.ledger.append(
            "end", run.phase.name, attempt=run.attempt, outcome=outcome, wall_s=wall_s, **details
        )

    def _prune(self) -> None:
        if self.keep_epochs is not None:
            prune(self.cascade, self.keep_epochs)

    def _close(self, before: int) -> Judgement:
        judgement = self.cascade.judge()
        self.cascade.link_best()
        self._prune()
        if self.failed:
            lines = "\n".join(f"  {name}: {reason}" for name, reason in self.failed.items())
            raise TopdownError(f"{len(self.failed)} phase(s) failed:\n{lines}")
        if before == sum(self.cascade.is_done(phase) for phase in self.cascade.phases):
            print(f"nothing to do: all phases in {self.cascade.directory} are finished")
        print(plan_table(self.cascade, judgement))
        return judgement


def default_threads(launch: Launch) -> int:
    """OMP_NUM_THREADS where it is set, else an equal share of this machine's CPUs.

    1 (as ESPnet's path.sh) elsewhere.
    """
    share = 1 if launch.cmd else max(1, len(os.sched_getaffinity(0)) // launch.jobs)
    return int(os.environ.get("OMP_NUM_THREADS") or 0) or share


def gpu_share(launch: Launch, slot: int, visible: str | None) -> dict[str, str]:
    """The GPUs of the training in place `slot` of `launch.jobs`, as CUDA_VISIBLE_DEVICES.

    Empty where nothing is shared.

    Args:
        launch: how trainings are started; with `cmd` the cluster hands out GPUs.
        slot: 0 for the first of the trainings side by side.
        visible: CUDA_VISIBLE_DEVICES of this process; None stands for the GPUs from 0 on.

    Raises:
        TopdownError: too few GPUs are visible for all jobs.
    """
    if launch.cmd is not None or launch.ngpu == 0 or launch.jobs == 1:
        return {}
    needed = launch.jobs * launch.ngpu
    names = (
        [str(n) for n in range(needed)]
        if visible is None
        else [name for name in visible.split(",") if name]
    )
    if len(names) < needed:
        raise TopdownError(
            f"--jobs {launch.jobs} with --ngpu {launch.ngpu} needs {needed} GPUs, and"
            f" CUDA_VISIBLE_DEVICES={visible} names {len(names)}; give fewer jobs"
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[slot * launch.ngpu : (slot + 1) * launch.ngpu])}


def failure(directory: Path) -> str:
    """Why a training ended: a full disk.

    Else by its log, or its launch's where it never began: our message, or the end.
    """
    if (free := shutil.disk_usage(directory).free) < FULL_BYTES:
        return (
            f"the disk of {directory} is full ({free / 1e6:.1f} MB free); make room and run again"
        )
    logs = [directory / "train.log", directory / "launch.log"]
    log = next((log for log in logs if log.exists()), logs[0])
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    marker = ": error: "
    start = next((n for n, line in enumerate(lines) if marker in line), None)
    if start is not None:
        return "\n".join(
            [
                lines[start].split(marker, 1)[1],
                *(line for line in lines[start + 1 :] if line.startswith("  ")),
            ]
        )
    return "\n".join(
        [f"training ended early; the end of {log}:", *(f"    {line}" for line in lines[-8:])]
    )
