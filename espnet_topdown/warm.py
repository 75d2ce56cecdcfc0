"""Run ESPnet commands as forked children of one process that has imported ESPnet already.

An import of ESPnet costs many seconds, more than a tiny phase; the warm process
(`espnet_topdown.warm_server`) pays it once. It serves one shell session (``ESPNET_TOPDOWN_WARM``
names its socket) or, where none runs, the Python process that asks first. Each command has its own
log. A child ends with the process that asked for it, whatever ended that one. Which commands to run
is for the caller to say.
"""

import argparse
import contextlib
import itertools
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

from espnet_topdown.errors import TopdownError, reported

PREFIXES = ("espnet2.bin.", "espnet_topdown.bin.")
SOCKET = "ESPNET_TOPDOWN_WARM"
GRACE_S = 15  # for what a signalled process has to do, such as slurm.pl's scancel
# The warm process of this Python process, once started, and its socket.
_own: dict[str, Any] = {}


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        module: run as ``module.main(argv)``; None where `argv` is a whole command line.
        argv: its arguments.
        log: the file for all that it prints.
    """

    module: str | None
    argv: list[str]
    log: Path


class Handle:
    """A child of the warm process; it is killed when the connection, and so its owner, ends."""

    def __init__(self, connection: socket.socket, command: Command) -> None:
        self.command = command
        self._connection = connection
        self._reader = connection.makefile("r")
        self._code: int | None = None
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
        """Wait for the child's end, at most `timeout` seconds; the result is as `poll`'s."""
        if self._code is None:
            has_ended, _, _ = select.select([self._connection], [], [], timeout)
            if has_ended:
                self._code = self._read("code")
        return self._code

    def terminate(self) -> None:
        """End the child and what it started; they are gone when this returns."""
        if self.poll() is None:
            self._connection.shutdown(socket.SHUT_WR)
            self._reader.read()
            self._code = -signal.SIGTERM


class Group(subprocess.Popen[bytes]):
    """A cold command in a process group of its own, with all that it starts."""

    def __init__(self, argv: Sequence[str], **options: Any) -> None:
        super().__init__(argv, start_new_session=True, **options)

    def terminate(self) -> None:
        """End the group; it is gone when this returns.

        Kaldi's slurm.pl and queue.pl then cancel their job. A second SIGTERM follows, since they
        pass over one that comes before the job has a number; SIGKILL is the last.
        """
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            deadline = time.monotonic() + GRACE_S
            while time.monotonic() < deadline:
                # Until the leader is waited for, its group counts as there.
                self.poll()
                is_gone = not self._signal(0)
                if is_gone:
                    return
                time.sleep(0.05)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group (0 sends none); False where it is gone."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True


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
    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    environment = dict(os.environ) | dict(variables or {})
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
    }
    connection = _connect()
    connection.sendall((json.dumps(request) + "\n").encode())
    return Handle(connection, command)


def run_all(commands: Sequence[Command], *, jobs: int, threads: int | None = None) -> list[int]:
    """Run every command, at most `jobs` at a time.

    The end of the log of each command that failed is shown on stderr. No new command starts after a
    failure. When this process ends, SIGKILL included, so do the running warm commands.

    Returns:
        exit statuses in the order of `commands`; 1 for one that never started.
    """
    codes = [1] * len(commands)
    running: dict[int, Handle | Group] = {}
    waiting = list(range(len(commands)))
    try:
        while running or waiting:
            while waiting and len(running) < jobs:
                number = waiting.pop(0)
                running[number] = start(commands[number], threads=threads)
            time.sleep(0.05)
            for number, handle in list(running.items()):
                code = handle.poll()
                if code is None:
                    continue
                codes[number] = code
                del running[number]
                if code != 0:
                    waiting.clear()
                    _show_failure(commands[number], code)
    finally:
        for handle in running.values():
            handle.terminate()
    return codes


def _show_failure(command: Command, code: int) -> None:
    lines = [f"{command.log}: the command above ended with status {code}"]
    if command.log.exists():
        lines = [*command.log.read_text(errors="replace").splitlines()[-20:], *lines]
    print("\n".join(lines), file=sys.stderr, flush=True)


def rotate(log: Path, keep: int = 9) -> None:
    """Move an earlier `log` out of the way: train.log to train.1.log, that to train.2.log, ...

    Source: espnet2.bin.launch, which does the same.
    """
    names = [log, *(log.with_name(f"{log.stem}.{n}{log.suffix}") for n in range(1, keep + 1))]
    for newer, older in reversed(list(itertools.pairwise(names))):
        if newer.exists():
            newer.replace(older)


def parse_line(words: Sequence[str], *, gpus: int = 0) -> list[Command]:
    """The commands of one line in the grammar of Kaldi's run.pl: ``[JOB=1:N] LOG COMMAND...``.

    ``python3 -m MODULE`` is run warm where MODULE is an ESPnet command or one of ours and no GPU is
    asked for; anything else is run as it stands.

    Raises:
        TopdownError: the log or the command is missing.
    """
    line = list(words)
    has_array = bool(line) and "=" in line[0] and "/" not in line[0]
    array = line.pop(0) if has_array else ""
    if len(line) < 2:
        raise TopdownError(f"a line must be [JOB=1:N] LOG COMMAND..., got {shlex.join(line)!r}")
    if not has_array:
        return [_command(line, gpus)]
    name, _, span = array.partition("=")
    first, _, last = span.partition(":")
    commands = []
    for job in range(int(first), int(last) + 1):
        commands.append(_command([word.replace(name, str(job)) for word in line], gpus))
    return commands


def _command(line: Sequence[str], gpus: int) -> Command:
    log, *argv = line
    is_module = argv[:2] == ["python3", "-m"] and len(argv) > 2
    if is_module and argv[2].startswith(PREFIXES) and not gpus:
        return Command(argv[2], argv[3:], Path(log))
    return Command(None, argv, Path(log))


def _connect() -> socket.socket:
    """A connection to the session's warm process, else to our own, started on first use.

    Raises:
        TopdownError: no process listens at the socket.
    """
    path = os.environ.get(SOCKET) or _own_socket()
    for _ in range(600):
        if Path(path).exists():
            break
        time.sleep(0.05)
    connection = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        connection.connect(path)
        return connection
    cure = "what it said stands above"
    if os.environ.get(SOCKET):
        cure = f"unset {SOCKET} and run again"
    raise TopdownError(f"asked the warm process at {path}, but none listens there; {cure}")


def _own_socket() -> str:
    if "path" not in _own:
        _own["dir"] = tempfile.TemporaryDirectory(prefix="espnet_topdown.")
        _own["path"] = str(Path(_own["dir"].name) / "socket")
        words = [sys.executable, "-m", "espnet_topdown.warm_server", _own["path"]]
        _own["server"] = subprocess.Popen(words)
    return _own["path"]


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.warm",
        description="Run commands in one process that has imported ESPnet already",
    )
    cpus = len(os.sched_getaffinity(0))
    line = "[JOB=1:N] LOG COMMAND..."
    add = parser.add_argument
    add("--jobs", type=int, default=cpus, help="commands at a time (CPUs)")
    add("--threads", type=int, help="torch threads a command (OMP_NUM_THREADS)")
    add("--gpu", type=int, default=0, help="GPUs of a command, which is then run cold (0)")
    add("--keep_logs", action="store_true", help="move an earlier LOG to LOG.1, not over it")
    add("--list", type=Path, metavar="FILE", help=f"a file with one line {line} each")
    add("line", nargs=argparse.REMAINDER, help=f"{line}, as for Kaldi's run.pl")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the commands of a line or a list; exit with status 1 where one failed."""
    args = get_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with reported():
        try:
            codes = _run(args)
        except KeyboardInterrupt:
            sys.exit(130)
        except OSError as error:
            raise TopdownError(str(error)) from None
    if any(codes):
        sys.exit(1)


def _run(args: argparse.Namespace) -> list[int]:
    lines = [args.line]
    if args.list:
        lines = [shlex.split(line) for line in args.list.read_text().splitlines()]
    commands = []
    for line in lines:
        commands += parse_line(line, gpus=args.gpu)
    if args.keep_logs:
        for command in commands:
            rotate(command.log)
    return run_all(commands, jobs=args.jobs, threads=args.threads)


if __name__ == "__main__":
    main()
