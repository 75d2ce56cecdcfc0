"""Ask the warm process for commands, and run those that it cannot as they stand.

The warm process (`espnet_topdown.warm.server`) serves one shell session (``ESPNET_TOPDOWN_WARM``
names its socket) or, where none runs, the Python process that asks first. An import of ESPnet costs
many seconds, more than a tiny phase; it is paid there once.
"""

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.gpus import VARIABLE, seen
from espnet_topdown.text_files import log_lines
from espnet_topdown.warm.address import short, with_short_tmpdir
from espnet_topdown.warm.groups import Group, side_by_side, told

SOCKET = "ESPNET_TOPDOWN_WARM"
LSTM = "ESPNET_TOPDOWN_LSTM"
SERVER = "espnet_topdown.warm.server"
BIND_S = 30  # within which a warm process that was just started has its socket


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        module: run as ``module.main(argv)``; None where `argv` is a whole command line.
        argv: its arguments.
        log: the file for all that it prints.
        gpus: how many it uses; the variable CUDA_VISIBLE_DEVICES says which, and may name one for
            several commands side by side by repeating it.
    """

    module: str | None
    argv: list[str]
    log: Path
    gpus: int = 0


class Handle:
    """A child of the warm process; it is killed when the connection, and so its owner, ends."""

    def __init__(self, connection: socket.socket, command: Command) -> None:
        self.command = command
        self._connection = connection
        self._reader = connection.makefile("r")
        self._code: int | None = None
        self.pid = self._read("pid", "while it was importing ESPnet")

    def _read(self, key: str, when: str) -> int:
        line = ""
        with contextlib.suppress(ConnectionError):
            line = self._reader.readline()
        if not line:
            raise TopdownError(
                f"asked the warm process for {self.command.module}, but it ended {when}:"
                f" {_why_it_ended()}; run again"
            )
        return json.loads(line)[key]

    def poll(self) -> int | None:
        """The exit status (negative: the signal), or None while the child runs."""
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the child's end, at most `timeout` seconds; the result is as `poll`'s."""
        if self._code is None:
            has_ended, _, _ = select.select([self._connection], [], [], timeout)
            if has_ended:
                self._code = self._read("code", "before its child did, and the child with it")
                self._reader.close()
                self._connection.close()
        return self._code

    def terminate(self) -> None:
        """End the child and what it started; they are gone when this returns."""
        # Where the warm process ended, as by a signal to it and its owner alike, so did the child.
        with contextlib.suppress(TopdownError, OSError):
            if self.poll() is None:
                self._connection.shutdown(socket.SHUT_WR)
                self._reader.read()
        if self._code is None:
            self._code = -signal.SIGTERM


def environment_threads() -> int:
    """OMP_NUM_THREADS, of a list for nested regions the first; 0 where it is not set.

    Raises:
        TopdownError: it is no number.
    """
    words = os.environ.get("OMP_NUM_THREADS", "")
    first = words.partition(",")[0].strip()
    if first and not first.isdecimal():
        raise TopdownError(f"OMP_NUM_THREADS={words} is no number of threads; unset it, or mend it")
    return int(first or 0)


def environment_lstm() -> str:
    """ESPNET_TOPDOWN_LSTM: ``onednn``, or empty for PyTorch's LSTM layers.

    Raises:
        TopdownError: it is another word.
    """
    kind = os.environ.get(LSTM, "")
    if kind not in ("", "onednn"):
        raise TopdownError(f"{LSTM} is '{kind}'; it can be 'onednn', or empty")
    return kind


def start(
    command: Command, *, threads: int | None = None, variables: Mapping[str, str] | None = None
) -> Handle | Group:
    """Start a command and return at once; environment and working directory are the caller's.

    Args:
        command: what to run, and its log file, which is written anew.
        threads: torch's threads; None takes OMP_NUM_THREADS, and torch's default where that is not
            set.
        variables: environment variables that differ from the caller's.

    Returns:
        An object with `pid`, `poll()`, `wait()` and `terminate()`.

    Raises:
        TopdownError: the warm process could not import ESPnet.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    threads = threads or environment_threads()
    environment = with_short_tmpdir({**os.environ, **(variables or {})})
    if command.gpus and VARIABLE in environment:
        environment[VARIABLE] = _each_once(environment[VARIABLE])
    if command.module is None:
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        with open(command.log, "wb") as log:
            return Group(command.argv, stdout=log, stderr=subprocess.STDOUT, env=environment)
    request = {
        "module": command.module,
        "argv": command.argv,
        "log": str(command.log),
        "threads": threads,
        "cwd": str(Path.cwd()),
        "env": environment,
        "gpus": command.gpus,
    }
    connection = _connect()
    # One that has died since reads nothing: the missing answer is told, in Handle.
    with contextlib.suppress(ConnectionError):
        connection.sendall((json.dumps(request) + "\n").encode())
    return Handle(connection, command)


def _each_once(names: str) -> str:
    """A list of GPUs without repetitions.

    One that is named twice is meant for two commands side by side; to CUDA a list with a repetition
    is empty (torch/cuda/__init__.py, _parse_visible_devices, does as it does).
    """
    return ",".join(dict.fromkeys(name.strip() for name in names.split(",")))


def run_all(
    commands: Sequence[Command], *, jobs: int | None = None, threads: int | None = None
) -> list[int]:
    """Run every command, at most `jobs` at a time; those with GPUs each on its own.

    Without `jobs` as many as there are CPUs, or GPUs for them; with more than there are GPUs for,
    several share them.

    The end of the log of each command that failed is shown on stderr. No new command starts after a
    failure. When this process ends, SIGKILL included, so do the running commands.

    Returns:
        exit statuses in the order of `commands`; 1 for one that never started.
    """

    def show(number: int, code: int) -> None:
        log = commands[number].log
        lines = [*log_lines(log)[-20:], f"{log}: the command above {told(code)}"]
        print("\n".join(lines), file=sys.stderr, flush=True)

    gpus = max((command.gpus for command in commands), default=0)
    shares = _gpu_shares(gpus)
    if jobs is None:
        jobs = max(len(shares), 1) if gpus else len(os.sched_getaffinity(0))
    users: list[Handle | Group | None] = [None] * jobs

    def start_next(command: Command) -> Handle | Group:
        # `side_by_side` starts one only where another has ended.
        slot = next(n for n, user in enumerate(users) if user is None or user.poll() is not None)
        own = {VARIABLE: shares[slot % len(shares)]} if command.gpus and shares else {}
        users[slot] = handle = start(command, threads=threads, variables=own)
        return handle

    starts = [partial(start_next, command) for command in commands]
    return side_by_side(starts, jobs, show)


def _gpu_shares(gpus: int) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each command of `gpus` GPUs that can run side by side.

    A GPU that the variable names twice is meant for two of them, each with one GPU.
    """
    if not gpus:
        return []
    names = seen(os.environ.get(VARIABLE))
    if gpus > 1:
        names = list(dict.fromkeys(names))
    whole = range(0, len(names) - gpus + 1, gpus)
    return [",".join(names[first : first + gpus]) for first in whole]


def rotate(log: Path, keep: int = 999) -> None:
    """Move an earlier `log` out of the way: train.log to train.1.log, that to train.2.log, ...

    Source: espnet2.bin.launch, which does the same.
    """
    names = [log, *(log.with_name(f"{log.stem}.{n}{log.suffix}") for n in range(1, keep + 1))]
    for newer, older in reversed(list(itertools.pairwise(names))):
        if newer.exists():
            newer.replace(older)


# ---- the warm process ----


class _Own:
    """The warm process of this Python process."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="espnet_topdown.")
        self.path = Path(self._directory.name) / "socket"
        self.process = subprocess.Popen([sys.executable, "-m", SERVER, str(self.path)])


# Kept here once started.
_own: list[_Own] = []


def _connect() -> socket.socket:
    """A connection to the session's warm process, else to our own, started on first use.

    Raises:
        TopdownError: no process listens at the socket.
    """
    path = Path(os.environ.get(SOCKET) or _own_socket())
    deadline = time.monotonic() + BIND_S
    while not path.exists() and time.monotonic() < deadline:
        has_died = not os.environ.get(SOCKET) and _own[0].process.poll() is not None
        if has_died:
            break
        time.sleep(0.02)
    connection = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError), short(path) as address:
        connection.connect(address)
        return connection
    raise _refusal(path)


def _refusal(path: Path) -> TopdownError:
    ask = f"asked the warm process at {path}, but"
    if os.environ.get(SOCKET):
        return TopdownError(
            f"{ask} none listens there any more: mend what it said above, or else unset {SOCKET},"
            " and run again"
        )
    return TopdownError(f"{ask} {_why_it_ended()}; run again")


def _own_socket() -> Path:
    # One that has died is replaced.
    if _own and _own[0].process.poll() is not None:
        _own.clear()
    if not _own:
        _own.append(_Own())
    return _own[0].path


def _why_it_ended() -> str:
    """What ended the warm process, as far as can be known."""
    if os.environ.get(SOCKET) or not _own:
        return (
            "either it was killed, by the kernel for want of memory or by hand, or espnet is not"
            f" installed for {sys.executable} (what it said stands above)"
        )
    try:
        status = _own[0].process.wait(BIND_S)
    except subprocess.TimeoutExpired:
        return f"it has not answered within {BIND_S} s"
    said = "" if status < 0 else " (mend what it said above)"
    return f"it {told(status)}{said}"
