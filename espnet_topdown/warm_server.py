"""The warm process: it has imported ESPnet, and forks a child for each command asked of it.

It never runs a torch operation itself, so that its children are free to. It ends with the process
that started it. Asking is for `espnet_topdown.warm`.
"""

import contextlib
import importlib
import json
import os
import select
import shlex
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from espnet_topdown.errors import TopdownError, reported

PRELOAD = (
    "espnet_topdown.bin.train",
    "espnet2.bin.asr_inference",
    "espnet2.bin.lm_train",
    # The first optimiser of every training imports it (1 to 2 s).
    "torch._dynamo",
)


def serve(path: Path, preload: Sequence[str] = PRELOAD) -> None:
    """Listen on a socket and fork a child for each connection until our parent is gone.

    Args:
        path: the socket to make.
        preload: modules to import, while callers may connect and wait already.

    Raises:
        TopdownError: a module of `preload` cannot be imported.
    """
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        _import(preload)
        children: dict[socket.socket, int] = {}
        with _cleanup(children, path):
            while os.getppid() == parent:
                _reap(children)
                readable, _, _ = select.select([listener, *children], [], [], 0.05)
                for ready in readable:
                    if ready is listener:
                        _accept(listener, children)
                        continue
                    # An owner never writes after its request: what is to be read is its end.
                    owner_is_gone = ready in children and not ready.recv(1)
                    if owner_is_gone:
                        _end(ready, children)


def _import(modules: Sequence[str]) -> None:
    """Import modules without what ESPnet's imports print."""
    sys.stdout.flush()
    # By descriptor, since ESPnet binds sys.stdout while it is imported.
    kept = [os.dup(1), os.dup(2)]
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(silent, descriptor)
        for name in modules:
            importlib.import_module(name)
    except ImportError as error:
        raise TopdownError(
            f"asked for {name}, but it cannot be imported ({error}); install espnet"
        ) from error
    finally:
        sys.stdout.flush()
        for descriptor, original in zip((1, 2), kept):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(silent)


@contextlib.contextmanager
def _cleanup(children: dict[socket.socket, int], path: Path) -> Iterator[None]:
    """Remove the socket and end the children, however the block ends."""

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
    # Parent and child both do it: whichever comes first, the group is there before it is needed.
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
    """End a child and its process group: SIGTERM, and SIGKILL after five seconds."""
    pid = children.pop(connection)
    deadline = time.monotonic() + 5
    os.killpg(pid, signal.SIGTERM)
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)
    # What the child left behind.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    connection.close()


def _tell(connection: socket.socket, message: dict[str, int]) -> None:
    # The owner may be gone.
    with contextlib.suppress(OSError):
        connection.sendall((json.dumps(message) + "\n").encode())


def _become(
    module: str, argv: list[str], log: str, threads: int, cwd: str, env: dict[str, str]
) -> NoReturn:
    """Turn a forked child into the command: directory, environment, log, threads, then ``main``.

    Args:
        module: run as ``module.main(argv)``.
        argv: its arguments.
        log: file for all that it prints, written anew.
        threads: torch's threads; 0 leaves torch's default.
        cwd: working directory.
        env: the whole environment.
    """
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
        line = f"python3 -m {module} {shlex.join(argv)}"
        print(f"# {line}\n# Started at {time.ctime()}\n#", flush=True)
        code = _call_main(module, argv, threads)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            print(f"# Ended (code {code}) at {time.ctime()}", flush=True)
            sys.stderr.flush()
        # The log may be on a full disk; a child must never go on as the server.
        finally:
            os._exit(code)


def _call_main(module: str, argv: list[str], threads: int) -> int:
    """The exit status of ``module.main(argv)``, by Python's rules for `SystemExit`."""
    # torch read OMP_NUM_THREADS when the warm process imported it.
    if threads and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    try:
        importlib.import_module(module).main(argv)
    except SystemExit as end:
        if end.code is None:
            return 0
        if isinstance(end.code, int):
            return end.code
        print(end.code, file=sys.stderr)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.warm_server SOCKET``."""
    words = sys.argv[1:] if argv is None else argv
    with reported():
        if len(words) != 1:
            raise TopdownError(f"one argument is needed, the socket to listen on; got {len(words)}")
        serve(Path(words[0]))


if __name__ == "__main__":
    main()
