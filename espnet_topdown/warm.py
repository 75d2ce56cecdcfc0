"""Runs ESPnet commands as forked children of one process that has imported ESPnet already, each
with its own log.

An import of ESPnet costs many seconds, more than a tiny phase; the warm process
(`espnet_topdown.warm_server`) pays it once. It serves one shell session (``ESPNET_TOPDOWN_WARM``
names its socket) or, where none runs, the Python process that asks first. A child ends with the
process that asked for it, whatever ended that one. Which commands to run is for the caller to say.
"""

import argparse
import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError

PREFIXES = ("espnet2.bin.", "espnet_topdown.bin.")
SOCKET = "ESPNET_TOPDOWN_WARM"
GRACE_S = 15  # for what a signalled process has to do, such as slurm.pl's scancel
_own: dict[str, Any] = {}  # the warm process of this Python process, once started


@dataclass(frozen=True)
class Command:
    """One command: `module` is run as ``module.main(argv)``.

    With `module` None, `argv` is a whole command line.
    """

    module: str | None
    argv: list[str]
    log: Path

    def words(self) -> list[str]:
        """The command line that does the same in a cold process."""
        return self.argv if self.module is None else ["python3", "-m", self.module, *self.argv]


class Handle:
    """A child of the warm process; it is killed when the connection, and so its owner, ends."""

    def __init__(self, connection: socket.socket, command: Command) -> None:
        self._connection, self._reader, self._code = connection, connection.makefile("r"), None
        self.command = command
        self.pid = self._read("pid")

    def _read(self, key: str) -> int:
        line = self._reader.readline()
        if not line:
            raise TopdownError(
                f"asked the warm process for {self.command.module}, but it ended: either it was"
                " killed, by the kernel for want of memory or by hand, or espnet is not installed"
                f" for {sys.executable} (what it said stands above); run again"
            )
        return json.loads(line)[key]

    def poll(self) -> int | None:
        """The exit status (negative: the signal), or None while the child runs."""
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the child's end, at most `timeout` seconds; returns as `poll`."""
        if self._code is None and select.select([self._connection], [], [], timeout)[0]:
            self._code = self._read("code")
        return self._code

    def terminate(self) -> None:
        """Ends the child and what it started, and returns when they are gone."""
        if self.poll() is None:
            self._connection.shutdown(socket.SHUT_WR)
            self._reader.read()
            self._code = -signal.SIGTERM


class Group(subprocess.Popen[bytes]):
    """A cold command in a process group of its own, with all that it starts."""

    def __init__(self, argv: Sequence[str], **options: Any) -> None:
        super().__init__(argv, start_new_session=True, **options)

    def terminate(self) -> None:
        """Ends the group and returns when it is gone.

        Kaldi's slurm.pl and queue.pl then cancel their job. A second SIGTERM follows, since they
        pass over one that comes before the job has a number; SIGKILL is the last.
        """
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + GRACE_S
            while time.monotonic() < deadline:
                self.poll()
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:
                    return
                number = 0
                time.sleep(0.05)


def start(
    command: Command, *, threads: int | None = None, variables: Mapping[str, str] | None = None
) -> Handle | Group:
    """Starts a command and returns at once; environment and working directory are the caller's.

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
    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    environment = dict(os.environ) | dict(variables or {})
    if command.module is None:
        environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
        with open(command.log, "wb") as log:
            return Group(command.argv, stdout=log, stderr=subprocess.STDOUT, env=environment)
    connection = _connect()
    request = {
        "module": command.module,
        "argv": command.argv,
        "log": str(command.log),
        "threads": threads,
    }
    connection.sendall(
        (json.dumps(request | {"cwd": os.getcwd(), "env": environment}) + "\n").encode()
    )
    return Handle(connection, command)


def run_all(commands: Sequence[Command], *, jobs: int, threads: int | None = None) -> list[int]:
    """Runs every command, at most `jobs` at a time, and returns their exit statuses in the order of
    `commands`.

    The end of the log of each command that failed is shown on stderr. No new command starts after a
    failure; a command that never started has status 1. When this process ends, SIGKILL included, so
    do the running warm commands.
    """
    codes, running, waiting = [1] * len(commands), {}, list(enumerate(commands))
    try:
        while running or waiting:
            while waiting and len(running) < jobs:
                number, command = waiting.pop(0)
                running[number] = start(command, threads=threads)
            time.sleep(0.05)
            for number in [n for n, handle in running.items() if handle.poll() is not None]:
                codes[number] = running.pop(number).poll()
                if codes[number]:
                    waiting.clear()
                    _show_failure(commands[number], codes[number])
    finally:
        for handle in running.values():
            handle.terminate()
    return codes


def rotate(log: Path, keep: int = 9) -> None:
    """Moves an earlier `log` to ``log.1``'s place (train.log -> train.1.log -> ...), as
    espnet2.bin.launch does.
    """
    names = [log, *(log.with_name(f"{log.stem}.{n}{log.suffix}") for n in range(1, keep + 1))]
    for older, newer in zip(reversed(names), reversed(names[:-1])):
        if newer.exists():
            newer.replace(older)


def parse_line(words: Sequence[str], *, gpus: int = 0) -> list[Command]:
    """The commands of one line in the grammar of Kaldi's run.pl: ``[JOB=1:N] LOG COMMAND...``.

    ``python3 -m MODULE`` is run warm where MODULE is an ESPnet command or one of ours and no GPU is
    asked for; anything else is run as it stands.
    """
    words, array = list(words), None
    if words and "=" in words[0] and "/" not in words[0]:
        name, _, span = words.pop(0).partition("=")
        first, _, last = span.partition(":")
        array = (name, range(int(first), int(last) + 1))
    if len(words) < 2:
        raise TopdownError(f"a line must be [JOB=1:N] LOG COMMAND..., got {shlex.join(words)!r}")
    lines = (
        [words]
        if array is None
        else [[w.replace(array[0], str(n)) for w in words] for n in array[1]]
    )
    return [_command(Path(log), argv, gpus) for log, *argv in lines]


def _command(log: Path, argv: list[str], gpus: int) -> Command:
    warm = (
        not gpus
        and argv[:2] == ["python3", "-m"]
        and len(argv) > 2
        and argv[2].startswith(PREFIXES)
    )
    return Command(argv[2], argv[3:], log) if warm else Command(None, argv, log)


def _show_failure(command: Command, code: int) -> None:
    tail = (
        command.log.read_text(errors="replace").splitlines()[-20:] if command.log.exists() else []
    )
    print(
        "\n".join([*tail, f"{command.log}: the command above ended with status {code}"]),
        file=sys.stderr,
        flush=True,
    )


def _connect() -> socket.socket:
    """A connection to the session's warm process, else to our own, started on first use."""
    path = os.environ.get(SOCKET) or _own.get("path")
    if path is None:
        _own["dir"] = tempfile.TemporaryDirectory(prefix="espnet_topdown.")
        path = _own["path"] = str(Path(_own["dir"].name) / "socket")
        _own["server"] = subprocess.Popen(
            [sys.executable, "-m", "espnet_topdown.warm_server", path]
        )
    for _ in range(600):
        if Path(path).exists():
            break
        time.sleep(0.05)
    connection = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        connection.connect(path)
        return connection
    cure = (
        f"unset {SOCKET} and run again" if os.environ.get(SOCKET) else "what it said stands above"
    )
    raise TopdownError(f"asked the warm process at {path}, but none listens there; {cure}")


def main(argv: Sequence[str] | None = None) -> int:
    """``python3 -m espnet_topdown.warm [--jobs N] [--gpu N] (--list FILE | [JOB=1:N] LOG
    COMMAND...)``.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="commands at a time (CPUs)"
    )
    parser.add_argument("--threads", type=int, help="torch threads a command (OMP_NUM_THREADS)")
    parser.add_argument(
        "--gpu", type=int, default=0, help="GPUs of a command, which is then run cold (0)"
    )
    parser.add_argument(
        "--keep_logs", action="store_true", help="move an earlier LOG to LOG.1 instead of losing it"
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="a file with one line [JOB=1:N] LOG COMMAND... each",
    )
    parser.add_argument(
        "line", nargs=argparse.REMAINDER, help="[JOB=1:N] LOG COMMAND..., as for Kaldi's run.pl"
    )
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        lines = (
            [shlex.split(line) for line in args.list.read_text().splitlines()]
            if args.list
            else [args.line]
        )
        commands = [command for line in lines for command in parse_line(line, gpus=args.gpu)]
        if args.keep_logs:
            for command in commands:
                rotate(command.log)
        return int(any(run_all(commands, jobs=args.jobs, threads=args.threads)))
    except KeyboardInterrupt:
        return 130
    except (TopdownError, OSError) as error:
        print(f"espnet_topdown.warm: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
