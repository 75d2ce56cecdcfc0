"""Trials: a tiny cascade whose processes are forked, disturbed, and run again by the same command.

ESPnet is imported once; a trial costs a second or two. Every process of a trial holds the write end
of one pipe, so that its end of file proves that none is left.
"""

import contextlib
import json
import logging
import os
import re
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import points
import tiny

from espnet_topdown import cli, warm
from espnet_topdown.cascade import attempt
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.warm import child, server

PHASES = ("phase1", "phase2")
EPOCHS = 3
# What of a record must not depend on disturbances.
RECORDED = ("files", "dev", "epochs", "parent", "unmoved", "kind", "cut", "seed")
# So fast that a phase becomes the best.
PLAN = "{train: {optim_conf: {lr: 0.1}}, phases: [{cut: ctc}, {cut: encoder.1}]}"


@dataclass(frozen=True)
class Point:
    """One write point of an undisturbed run.

    `size_before` and `size_after` are of a written file.
    """

    role: str
    number: int
    event: str
    path: str
    size_before: int = 0
    size_after: int = 0


class Direct:
    """A command in a forked process that outlives the runner, as one that a queue has started."""

    def __init__(
        self, command: Any, *, threads: int | None = None, variables: object = None
    ) -> None:
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _close_locks()
            where = {"cwd": str(Path.cwd()), "env": dict(os.environ)}
            child.become(command.module, command.argv, str(command.log), threads or 1, **where)

    def poll(self) -> int | None:
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code

    def wait(self) -> int | None:
        while self.poll() is None:
            time.sleep(0.01)
        return self.code

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            self.wait()


def _close_locks() -> None:
    """Let go of the runner's locks, as exec does in a command that a queue starts.

    A fork alone would hold them.
    """
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(entry.readlink()).endswith("/.lock"):
                os.close(int(entry.name))


class Run:
    """One ``espnet-topdown run`` in a process forked from this one."""

    def __init__(
        self, trial: "Trial", fault: points.Fault | None, before: Callable[[], None] | None
    ) -> None:
        self.output = trial.place / f"run{len(trial.runs)}.out"
        self.alive, inherited = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.alive)
            _become_runner(trial, self.output, fault, before)
        os.close(inherited)

    def wait(self) -> int:
        """The runner's exit status; negative: the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def gone(self, timeout_s: float = 60) -> bool:
        """Whether every process of this run has ended, within `timeout_s`."""
        return bool(select.select([self.alive], [], [], timeout_s)[0])

    def close(self) -> None:
        """Forget the pipe."""
        os.close(self.alive)


class Trial:
    """A cascade in a directory of its own.

    Args:
        base: experiment that is phase 0.
        place: new directory.
        direct: trainers outlive the runner (as with ``--cmd``), instead of ending with it.
    """

    def __init__(self, base: Path, place: Path, *, direct: bool = False) -> None:
        place.mkdir(parents=True)
        self.base, self.place, self.direct = base, place, direct
        self.directory, self.trace = place / "cascade", place / "trace"
        self.runs: list[Run] = []
        self.duration_s = 0.0
        (place / "plan.yaml").write_text(PLAN)

    def words(self) -> list[str]:
        """The command line."""
        plan, directory = str(self.place / "plan.yaml"), str(self.directory)
        return ["run", str(self.base), "--plan", plan, "--dir", directory, "--threads", "1"]

    def start(
        self, fault: points.Fault | None = None, *, before: Callable[[], None] | None = None
    ) -> Run:
        """Start the command; `before` is called in its process first."""
        self.runs.append(Run(self, fault, before))
        return self.runs[-1]

    def finish(self) -> None:
        """Run the command to its end and see that no process of any run is left."""
        began = time.monotonic()
        code = self.start().wait()
        self.duration_s = time.monotonic() - began
        assert code == 0, self.runs[-1].output.read_text()
        for run in self.runs:
            assert run.gone(), f"a process of {run.output} is still there"
            run.close()

    def trainer(self) -> int | None:
        """The process that trained last, from the trace."""
        pids = [int(line.split()[1]) for line in self._trace() if not line.startswith("runner ")]
        return pids[-1] if pids else None

    def _trace(self) -> list[str]:
        return self.trace.read_text().splitlines() if self.trace.exists() else []

    def points(self) -> list[Point]:
        """The write points of all processes, in their order."""
        sizes: dict[tuple[str, str, str], tuple[int, int]] = {}
        seen = []
        for line in self._trace():
            role, pid, kind, number, *rest = line.split(" ", 5)
            if kind == "wrote":
                sizes[role, pid, number] = (int(rest[0]), int(rest[1]))
            elif kind == "point":
                seen.append((role, pid, number, rest))
        points_of_run = []
        for role, pid, number, (event, path) in seen:
            written = sizes.get((role, pid, number), ())
            points_of_run.append(Point(role, int(number), event, path, *written))
        return points_of_run

    def writers(self) -> list[str]:
        """(role, process) of the trainers, a run of equal ones once."""
        writers: list[str] = []
        for line in self._trace():
            who = " ".join(line.split()[:2])
            if not who.startswith("runner ") and who not in writers[-1:]:
                writers.append(who)
        return writers

    def started_epochs(self, phase: str) -> int:
        """How many epochs of a phase were begun, over all attempts, from its logs."""
        logs = [
            log.read_text(errors="replace") for log in (self.directory / phase).glob("train*.log")
        ]
        return sum(len(re.findall(rf"\d+/{EPOCHS}epoch started", log)) for log in logs)

    def result(self) -> dict[str, Any]:
        """All that must not depend on disturbances: hashes, curves, files, links, the best."""
        result: dict[str, Any] = {"best": str((self.directory / "best").readlink())}
        for phase in PHASES:
            directory = self.directory / phase
            record = json.loads((directory / "record.json").read_text())
            paths = directory.rglob("*")
            names = sorted(path.relative_to(self.directory).as_posix() for path in paths)
            links = [path for path in directory.glob("*.pth") if path.is_symlink()]
            result[phase] = {
                **{key: record[key] for key in RECORDED},
                "names": [name for name in names if not name.endswith(".log")],
                "links": {link.name: str(link.readlink()) for link in links},
            }
        return result

    def check(self, expected: dict[str, Any], *, repeated: int = 1) -> None:
        """What a kill at any moment must leave after the same command: see the promises in DESIGN.

        Args:
            expected: `result` of an undisturbed trial.
            repeated: epochs that may have been begun once more.
        """
        assert self.result() == expected
        begun = {phase: self.started_epochs(phase) for phase in PHASES}
        assert all(count >= EPOCHS for count in begun.values()), begun
        assert sum(begun.values()) <= EPOCHS * len(PHASES) + repeated, begun
        writers = self.writers()
        assert len(writers) == len(set(writers)), f"two processes wrote in turn: {writers}"
        self._check_ledger()
        self._check_recorded()

    def _check_ledger(self) -> None:
        events = Ledger(self.directory / "ledger.jsonl").events()
        for kind in ("start", "end"):
            attempts = [(e["phase"], e["attempt"]) for e in events if e["event"] == kind]
            assert len(attempts) == len(set(attempts)), events
        done = Counter(event["phase"] for event in events if event.get("outcome") == "done")
        assert done == Counter(PHASES), events
        assert len(events) % 2 == 0, events

    def _check_recorded(self) -> None:
        """No trainer touches a phase after its record."""
        recorded: set[str] = set()
        for point in self.points():
            phase, _, name = point.path.rpartition("/")
            if (point.role, point.event, name) == ("runner", "os.rename", "record.json"):
                recorded.add(phase)
            assert point.role not in recorded, f"{point} after the record"


def _become_runner(
    trial: Trial, output: Path, fault: points.Fault | None, before: Callable[[], None] | None
) -> NoReturn:
    """Turn a forked child into the command; never returns."""
    code = 1
    try:
        logging.root.handlers.clear()  # pytest's
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(out, descriptor)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
        code = _run(trial, fault, before)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _run(trial: Trial, fault: points.Fault | None, before: Callable[[], None] | None) -> int:
    become = child.become

    def counted(module: str, argv: list[str], *args: Any, **kwargs: Any) -> NoReturn:
        if "--output_dir" in argv:
            points.enter(Path(argv[argv.index("--output_dir") + 1]).name)
        become(module, argv, *args, **kwargs)

    child.become = counted
    attempt.POLL_S = 0.02
    points.arm(trial.directory, trial.trace, fault)
    if before:
        before()
    if trial.direct:
        warm.start = Direct
    else:
        _serve(trial)
    cli.main(trial.words())
    return 0


def _serve(trial: Trial) -> None:
    """A warm process of this runner's own, forked instead of started."""
    path = Path(tempfile.gettempdir()) / f"faults{os.getpid()}"  # a socket's path must be short
    if os.fork() == 0:
        try:
            server.serve(path, preload=())
        finally:
            os._exit(0)
    os.environ[warm.SOCKET] = str(path)


def config(**changes: Any) -> dict[str, Any]:
    """The smallest model with averages: CTC over three recurrent layers, two criteria."""
    criteria = [["valid", "loss", "min"], ["train", "loss", "min"]]
    return tiny.asr_config(
        "rnn", None, max_epoch=EPOCHS, keep_nbest_models=2, best_model_criterion=criteria, **changes
    )


def train_base(data: Path, directory: Path) -> Path:
    """A trained experiment, by a forked process."""
    # The first optimiser imports it (1 s): better once, before all forks.
    import torch._dynamo  # noqa: F401

    log = directory.parent / "base.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = tiny.command(data, directory, config())
    assert Direct(warm.Command("espnet_topdown.bin.train", words, log)).wait() == 0, log.read_text()
    return directory


def kills(points_of_run: Sequence[Point], at: str, victims: str) -> list[points.Fault]:
    """Deaths of `victims` at every write of the runner or of the trainers.

    Args:
        points_of_run: the writes.
        at: whose are meant, ``runner`` or ``trainer``.
        victims: who dies, before each of them and, where it is their own, in its middle.
    """
    faults = []
    for point in points_of_run:
        writer = "runner" if point.role == "runner" else "trainer"
        if writer != at:
            continue
        faults.append(points.Fault(point.role, point.number, None, victims))
        if at in victims and point.size_after > point.size_before + 1:
            middle = (point.size_before + point.size_after) // 2
            faults.append(points.Fault(point.role, point.number, middle, victims))
    return faults
