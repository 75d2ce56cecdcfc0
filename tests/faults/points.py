"""Write points: where a process of a cascade changes a file, and its death at one of them.

A point is one of Python's audit events (open for writing, rename, remove, symlink, mkdir) or a
`torch.save`, below one directory. Each process counts its own, from 0. All processes of a trial are
forked from the one that armed it.
"""

import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which argument of an event is the path that is changed.
_EVENTS = {"os.rename": 1, "os.remove": 0, "os.symlink": 1, "os.mkdir": 0, "torch.save": 0}


@dataclass(frozen=True)
class Fault:
    """Death by SIGKILL at a write point, or a pause there.

    Args:
        role: ``runner`` or the name of a phase, for its trainer: whose write point it is.
        number: the write point.
        limit: None: before the write; else in its middle, when the file has this many bytes.
        victims: who dies, ``runner``, ``trainer`` or ``trainer and runner``; a trainer may outlive
            its runner.
        hold: nobody dies; the process waits before the write until this file is there.
    """

    role: str
    number: int
    limit: int | None = None
    victims: str = "trainer"
    hold: Path | None = None

    def strike(self, runner: int) -> None:
        """Wait, or kill now, or once the file that is about to be written reaches `limit` bytes."""
        if self.hold is not None:
            while not self.hold.exists():
                time.sleep(0.01)
            return
        if self.role != "runner" and "runner" in self.victims:
            os.kill(runner, signal.SIGKILL)
        if self.victims == "runner" != self.role:
            return
        if self.limit is None:
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))
        # It then ends the process without any handler, as SIGKILL does.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


@dataclass
class _Trial:
    """What the processes of one trial share by fork; role and count are each process's own."""

    below: str
    trace: int
    fault: Fault | None
    runner: int
    role: str = ""
    pid: int = 0
    count: int = 0
    last: tuple[int, str, int] | None = None


_trial: _Trial | None = None
_installed: list[bool] = []


def arm(below: Path, trace: Path, fault: Fault | None) -> None:
    """Begin a trial in this process, the runner; points are appended to the file `trace`."""
    global _trial
    _install()
    _trial = _Trial(
        f"{below}/", os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND), fault, os.getpid()
    )
    enter("runner")


def enter(role: str) -> None:
    """Count this process's points from now on, under the name `role`."""
    if _trial is not None:
        _trial.role, _trial.pid, _trial.count, _trial.last = role, os.getpid(), 0, None


def _install() -> None:
    if not _installed:
        import torch

        save = torch.save

        def audited(data: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            if isinstance(path, str | os.PathLike):  # torch opens the file itself, unseen by Python
                sys.audit("torch.save", path)
            save(data, path, *args, **kwargs)

        torch.save = audited
        sys.addaudithook(_seen)
        _installed.append(True)


def _seen(event: str, args: tuple[Any, ...]) -> None:
    trial = _trial
    if trial is None or trial.pid != os.getpid():
        return
    if event == "open":
        if not isinstance(args[2], int) or not args[2] & _WRITES:
            return
        path = args[0]
    elif event in _EVENTS:
        path = args[_EVENTS[event]]
    else:
        return
    if not isinstance(path, str | os.PathLike):
        return
    # Not resolved: a link is what is changed, not what it stands for.
    absolute = os.path.normpath(Path.cwd() / path)
    if not absolute.startswith(trial.below):
        return
    # An event that changes nothing: it removes nothing, or makes what is there.
    idle = {"os.remove": False, "os.mkdir": True}
    if event not in idle or os.path.lexists(path) is not idle[event]:
        _count(trial, event, absolute)


def _count(trial: _Trial, event: str, path: str) -> None:
    number, trial.count = trial.count, trial.count + 1
    if trial.last is not None:
        _write(trial, "wrote", trial.last[0], trial.last[2], _size(trial.last[1]))
    trial.last = (number, path, _size(path)) if event in ("open", "torch.save") else None
    fault = trial.fault
    is_struck = fault is not None and (fault.role, fault.number) == (trial.role, number)
    below = path.removeprefix(trial.below)
    _write(trial, "struck" if is_struck else "point", number, event, below)
    if fault is not None and is_struck:
        fault.strike(trial.runner)


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def _write(trial: _Trial, *words: object) -> None:
    line = " ".join(map(str, (trial.role, trial.pid, *words)))
    os.write(trial.trace, f"{line}\n".encode())
