"""Processes that end with whoever started them, and how the end of one is told."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

GRACE_S = 15  # for what a signalled process has to do, such as slurm.pl's scancel
GUARD = str(Path(__file__).with_name("guard.py"))
POLL_S = 0.05
# prctl(2): the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


class Running(Protocol):
    """A command that was started."""

    def poll(self) -> int | None:
        """The exit status (negative: the signal), or None while the command runs."""

    def terminate(self) -> None:
        """End the command and what it started; they are gone when this returns."""


class Group(subprocess.Popen[bytes]):
    """A command in a process group of its own, ended when its owner ends, SIGKILL included.

    Its process is the guard (`espnet_topdown.warm.guard`), which ends as the command does.

    Args:
        argv: the command.
        options: those of `subprocess.Popen`.
    """

    def __init__(self, argv: Sequence[str], **options: Any) -> None:
        ours, self._owner = os.pipe()
        words = [sys.executable, "-I", "-S", GUARD, str(ours), str(GRACE_S), *argv]
        try:
            super().__init__(words, pass_fds=[ours], start_new_session=True, **options)
        finally:
            os.close(ours)

    def terminate(self) -> None:
        """End the group; it is gone when this returns."""
        # To the guard this is the end of its owner.
        self._let_go()
        self.wait()

    def _let_go(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._owner)
        self._owner = -1

    def __del__(self) -> None:
        # Popen's own warns of a process that still runs, which the guard now ends.
        self._let_go()


def side_by_side(
    starts: Sequence[Callable[[], Running]], jobs: int, failed: Callable[[int, int], None]
) -> list[int]:
    """Run every command, at most `jobs` at a time; after a failure none is started.

    Args:
        starts: start the commands.
        jobs: commands at a time.
        failed: told the number and the status of each command that failed.

    Returns:
        exit statuses in the order of `starts`; 1 for one that never started.
    """
    codes = [1] * len(starts)
    running: dict[int, Running] = {}
    waiting = list(range(len(starts)))
    try:
        while running or waiting:
            while waiting and len(running) < jobs:
                number = waiting.pop(0)
                running[number] = starts[number]()
            time.sleep(POLL_S)
            for number, handle in list(running.items()):
                code = handle.poll()
                if code is None:
                    continue
                codes[number] = code
                del running[number]
                if code != 0:
                    waiting.clear()
                    failed(number, code)
    finally:
        for handle in running.values():
            handle.terminate()
    return codes


def run(argv: Sequence[str]) -> int:
    """Run one command, without a terminal to read from, and return its exit status."""
    starts = [partial(Group, argv, stdin=subprocess.DEVNULL)]
    return side_by_side(starts, 1, lambda *_: None)[0]


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends (Linux; else nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


def told(status: int) -> str:
    """An exit status in words, a signal by its name (a shell's 128 + N is one too)."""
    number = -status
    if 128 < status < 128 + signal.NSIG:
        number = status - 128
    if number <= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"ended with status {status}"
    text = f"was killed by {name}"
    if number == signal.SIGKILL:
        text += " (the kernel does so for want of memory; else someone did)"
    return text
