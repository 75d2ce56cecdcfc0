"""Runs ESPnet commands as forked children of one process that has imported ESPnet already, each with its own log.

An import of ESPnet costs many seconds, more than a tiny phase. One warm process pays it once; it never runs a torch
operation itself, so that its children are free to. It serves one shell session (``ESPNET_TOPDOWN_WARM`` names its
socket) or, where none runs, the Python process that asks first. It ends with the process that started it, and a child
ends with the process that asked for it, whatever ended that one. Which commands to run is for the caller to say.
"""

import argparse
import contextlib
import importlib
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
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from espnet_topdown.errors import TopdownError

PRELOAD = ("espnet2.bin.asr_train", "espnet2.bin.asr_inference")
PREFIXES = ("espnet2.bin.", "espnet_topdown.bin.")
SOCKET = "ESPNET_TOPDOWN_WARM"
_own: dict[str, Any] = {}  # the warm process of this Python process, once started


@dataclass(frozen=True)
class Command:
    """One command: `module` is run as ``module.main(argv)``; with `module` None, `argv` is a whole command line."""

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
                f"asked the warm process for {self.command.module}, but it ended (is espnet installed for "
                f"{sys.executable}? what it said stands above); run again"
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


def start(command: Command, *, threads: int | None = None) -> Handle | subprocess.Popen[bytes]:
    """Starts a command and returns at once; environment and working directory are the caller's.

    Args:
        command: what to run, and its log file, which is written anew.
        threads: torch's threads; None takes OMP_NUM_THREADS, and torch's default where that is not set.

    Returns:
        An object with `pid`, `poll()`, `wait()` and `terminate()`.

    Raises:
        TopdownError: the warm process could not import ESPnet.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    if command.module is None:
        environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        with open(command.log, "wb") as log:
            return subprocess.Popen(command.argv, stdout=log, stderr=subprocess.STDOUT, env=environment)
    connection = _connect()
    request = {"module": command.module, "argv": command.argv, "log": str(command.log), "threads": threads}
    connection.sendall((json.dumps(request | {"cwd": os.getcwd(), "env": dict(os.environ)}) + "\n").encode())
    return Handle(connection, command)


def run_all(commands: Sequence[Command], *, jobs: int, threads: int | None = None) -> list[int]:
    """Runs every command, at most `jobs` at a time, and returns their exit statuses in the order of `commands`.

    The end of the log of each command that failed is shown on stderr. No new command starts after a failure; a command
    that never started has status 1. When this process ends, SIGKILL included, so do the running warm commands.
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
    """Moves an earlier `log` to ``log.1``'s place (train.log -> train.1.log -> ...), as espnet2.bin.launch does."""
    names = [log, *(log.with_name(f"{log.stem}.{n}{log.suffix}") for n in range(1, keep + 1))]
    for older, newer in zip(reversed(names), reversed(names[:-1])):
        if newer.exists():
            newer.replace(older)


def parse_line(words: Sequence[str], *, gpus: int = 0) -> list[Command]:
    """The commands of one line in the grammar of Kaldi's run.pl: ``[JOB=1:N] LOG COMMAND...``.

    ``python3 -m MODULE`` is run warm where MODULE is an ESPnet command or one of ours and no GPU is asked for; anything
    else is run as it stands.
    """
    words, array = list(words), None
    if words and "=" in words[0] and "/" not in words[0]:
        name, _, span = words.pop(0).partition("=")
        first, _, last = span.partition(":")
        array = (name, range(int(first), int(last) + 1))
    if len(words) < 2:
        raise TopdownError(f"a line must be [JOB=1:N] LOG COMMAND..., got {shlex.join(words)!r}")
    lines = [words] if array is None else [[w.replace(array[0], str(n)) for w in words] for n in array[1]]
    return [_command(Path(log), argv, gpus) for log, *argv in lines]


def _command(log: Path, argv: list[str], gpus: int) -> Command:
    warm = not gpus and argv[:2] == ["python3", "-m"] and len(argv) > 2 and argv[2].startswith(PREFIXES)
    return Command(argv[2], argv[3:], log) if warm else Command(None, argv, log)


def _show_failure(command: Command, code: int) -> None:
    tail = command.log.read_text(errors="replace").splitlines()[-20:] if command.log.exists() else []
    print("\n".join([*tail, f"{command.log}: the command above ended with status {code}"]), file=sys.stderr, flush=True)


def _connect() -> socket.socket:
    """A connection to the session's warm process, else to our own, started on first use."""
    path = os.environ.get(SOCKET) or _own.get("path")
    if path is None:
        _own["dir"] = tempfile.TemporaryDirectory(prefix="espnet_topdown.")
        path = _own["path"] = str(Path(_own["dir"].name) / "socket")
        _own["server"] = subprocess.Popen([sys.executable, "-m", "espnet_topdown.warm", "--serve", path])
    for _ in range(600):
        if Path(path).exists():
            break
        time.sleep(0.05)
    connection = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        connection.connect(path)
        return connection
    cure = f"unset {SOCKET} and run again" if os.environ.get(SOCKET) else "what it said stands above"
    raise TopdownError(f"asked the warm process at {path}, but none listens there; {cure}")


# ---- the warm process ----


def serve(path: Path, preload: Sequence[str] = PRELOAD) -> None:
    """Listens on a socket, imports `preload`, then forks one child for each connection until our parent is gone.

    Raises:
        TopdownError: a module of `preload` cannot be imported.
    """
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))  # callers may connect, and wait, while the imports go on
        listener.listen(64)
        _import(preload)
        children: dict[socket.socket, int] = {}
        with _cleanup(children, path):
            while os.getppid() == parent:
                _reap(children)
                for ready in select.select([listener, *children], [], [], 0.05)[0]:
                    if ready is listener:
                        _accept(listener, children)
                    elif ready in children and not ready.recv(1):
                        _end(ready, children)  # its owner is gone


def _import(modules: Sequence[str]) -> None:
    """Imports modules without what ESPnet's imports print; by descriptor, as ESPnet binds sys.stdout while imported."""
    sys.stdout.flush()
    kept, silent = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(silent, descriptor)
        for name in modules:
            importlib.import_module(name)
    except ImportError as error:
        raise TopdownError(f"asked for {name}, but it cannot be imported ({error}); install espnet") from error
    finally:
        sys.stdout.flush()
        for descriptor, original in zip((1, 2), kept):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(silent)


@contextlib.contextmanager
def _cleanup(children: dict[socket.socket, int], path: Path) -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        for connection in list(children):
            _end(connection, children)


def _accept(listener: socket.socket, children: dict[socket.socket, int]) -> None:
    connection = listener.accept()[0]
    with connection.makefile("r") as reader:
        line = reader.readline()
    if not line:
        connection.close()
        return
    pid = os.fork()
    if pid == 0:
        for inherited in (listener, connection, *children):
            inherited.close()
        _become(**json.loads(line))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    children[connection] = pid
    _tell(connection, {"pid": pid})


def _reap(children: dict[socket.socket, int]) -> None:
    for connection, pid in list(children.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _tell(connection, {"code": os.waitstatus_to_exitcode(status)})
            del children[connection]
            connection.close()


def _end(connection: socket.socket, children: dict[socket.socket, int]) -> None:
    """Ends a child and its process group: SIGTERM, and SIGKILL after five seconds."""
    pid, deadline = children.pop(connection), time.monotonic() + 5
    os.killpg(pid, signal.SIGTERM)
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what the child left behind
    connection.close()


def _tell(connection: socket.socket, message: dict[str, int]) -> None:
    with contextlib.suppress(OSError):  # the owner may be gone
        connection.sendall((json.dumps(message) + "\n").encode())


def _become(module: str, argv: list[str], log: str, threads: int, cwd: str, env: dict[str, str]) -> NoReturn:
    """Turns a forked child into the command: directory, environment, log, threads, then ``main``; never returns."""
    code = 1
    try:
        with contextlib.suppress(PermissionError):
            os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        sys.argv = [module, *argv]
        print(f"# python3 -m {module} {shlex.join(argv)}\n# Started at {time.ctime()}\n#", flush=True)
        code = _call_main(module, argv, threads)
    except BaseException:
        traceback.print_exc()
    finally:
        print(f"# Ended (code {code}) at {time.ctime()}", flush=True)
        sys.stderr.flush()
        os._exit(code)


def _call_main(module: str, argv: list[str], threads: int) -> int:
    if threads and "torch" in sys.modules:  # OMP_NUM_THREADS was read when the warm process loaded torch
        sys.modules["torch"].set_num_threads(threads)
    try:
        importlib.import_module(module).main(argv)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """``python3 -m espnet_topdown.warm [--jobs N] [--gpu N] (--list FILE | [JOB=1:N] LOG COMMAND...)``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="commands at a time (CPUs)")
    parser.add_argument("--threads", type=int, help="torch threads a command (OMP_NUM_THREADS)")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs of a command, which is then run cold (0)")
    parser.add_argument("--keep_logs", action="store_true", help="move an earlier LOG to LOG.1 instead of losing it")
    parser.add_argument("--serve", type=Path, metavar="SOCKET", help=f"be the warm process that {SOCKET}=SOCKET names")
    parser.add_argument("--list", type=Path, metavar="FILE", help="a file with one line [JOB=1:N] LOG COMMAND... each")
    parser.add_argument("line", nargs=argparse.REMAINDER, help="[JOB=1:N] LOG COMMAND..., as for Kaldi's run.pl")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if args.serve:
            serve(args.serve)
            return 0
        lines = [shlex.split(line) for line in args.list.read_text().splitlines()] if args.list else [args.line]
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
