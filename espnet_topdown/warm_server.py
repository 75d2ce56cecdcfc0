"""The warm process.

It has imported ESPnet, and forks one child for each command that is asked of it.

It never runs a torch operation itself, so that its children are free to. It ends with the process
that started it. Asking is the part of `espnet_topdown.warm`.
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
    "torch._dynamo",  # the first optimiser of every training imports it (1 to 2 s)
)


def serve(path: Path, preload: Sequence[str] = PRELOAD) -> None:
    """Listens on a socket, imports `preload`, then forks one child for each connection until our
    parent is gone.

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
    """Imports modules without what ESPnet's imports print.

    By descriptor, as ESPnet binds sys.stdout while imported.
    """
    sys.stdout.flush()
    kept, silent = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
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


def _become(
    module: str, argv: list[str], log: str, threads: int, cwd: str, env: dict[str, str]
) -> NoReturn:
    """Turns a forked child into the command: directory, environment, log, threads, then ``main``.

    Never returns.
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
        print(
            f"# python3 -m {module} {shlex.join(argv)}\n# Started at {time.ctime()}\n#", flush=True
        )
        code = _call_main(module, argv, threads)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            print(f"# Ended (code {code}) at {time.ctime()}", flush=True)
            sys.stderr.flush()
        finally:  # the log may be on a full disk; a child must never go on as the server
            os._exit(code)


def _call_main(module: str, argv: list[str], threads: int) -> int:
    if (
        threads and "torch" in sys.modules
    ):  # OMP_NUM_THREADS was read when the warm process loaded torch
        sys.modules["torch"].set_num_threads(threads)
    try:
        importlib.import_module(module).main(argv)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main() -> None:
    """``python3 -m espnet_topdown.warm_server SOCKET``."""
    with reported():
        if len(sys.argv) != 2:
            raise TopdownError(
                f"one argument is needed, the socket to listen on; got {len(sys.argv) - 1}"
            )
        serve(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
