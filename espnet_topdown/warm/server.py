"""The warm process: it has imported ESPnet, and forks a child for each command asked of it.

It never runs a torch operation itself, so that its children are free to. It ends with the process
that started it. Asking is for `espnet_topdown.warm.client`.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.processes import open_standard_streams
from espnet_topdown.versions import importing
from espnet_topdown.warm import child
from espnet_topdown.warm.address import short
from espnet_topdown.warm.groups import end_with_parent

PRELOAD = (
    "espnet_topdown.bin.train",
    "espnet2.bin.asr_inference",
    "espnet2.bin.lm_train",
    # The first optimiser of every training imports it (1 to 2 s).
    "torch._dynamo",
)
MOST_BYTES = 1 << 24  # of a request


def serve(path: Path, preload: Sequence[str] = PRELOAD, parent: int | None = None) -> None:
    """Listen on a socket and fork a child for each request until our parent is gone.

    Args:
        path: the socket to make; it is there only once callers may connect.
        preload: modules to import, while callers may connect and wait already.
        parent: our parent's process number; None: who it is now, which is another where the one
            that started us is gone already.

    Raises:
        TopdownError: a module of `preload` cannot be imported.
    """
    if parent is None:
        parent = os.getppid()
    # Libraries start threads when they are imported, which idle here: they hold no lock that a
    # child would wait for. Python 3.12 warns of them at each fork.
    warnings.filterwarnings("ignore", ".* is multi-threaded, use of fork", DeprecationWarning)
    # Ctrl-C in a terminal reaches this process too; whoever started it tells the end.
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    with _listening(path) as listener:
        try:
            _import(preload)
            _Server(listener).run(parent)
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, with a name from then on only."""
    # A caller that finds the name may connect at once, so it is given by rename.
    unfinished = path.with_name(f"{path.name}.new")
    with socket.socket(socket.AF_UNIX) as listener:
        with short(unfinished) as address:
            listener.bind(address)
        listener.listen(64)
        unfinished.rename(path)
        yield listener


def _stop(*_: object) -> NoReturn:
    # A script's trap sends a second, which must not cut short the end of the children.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def _import(modules: Sequence[str]) -> None:
    """Import modules without what ESPnet's imports print."""
    _flush()
    # By descriptor, since ESPnet binds sys.stdout while it is imported.
    kept = [os.dup(1), os.dup(2)]
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(silent, descriptor)
        for name in modules:
            with importing(name):
                importlib.import_module(name)
    finally:
        _flush()
        for descriptor, original in zip((1, 2), kept):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(silent)


def _flush() -> None:
    # It may be closed.
    if sys.stdout is not None:
        sys.stdout.flush()


class _Server:
    """Connections, each with what was read of its request, or with the child that answers it."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.requests: dict[socket.socket, bytes] = {}
        self.children: dict[socket.socket, int] = {}

    def run(self, parent: int) -> None:
        """Serve until the process `parent` is gone; then end the children."""
        try:
            while os.getppid() == parent:
                self._reap()
                watched = [self.listener, *self.requests, *self.children]
                readable, _, _ = select.select(watched, [], [], 0.05)
                for ready in readable:
                    self._look_at(ready)
        finally:
            for connection in list(self.children):
                self._end(connection)

    def _look_at(self, ready: socket.socket) -> None:
        if ready is self.listener:
            self.requests[self.listener.accept()[0]] = b""
        elif ready in self.requests:
            self._read(ready)
        # An owner never writes after its request: what is to be read is its end.
        elif ready in self.children and not _receive(ready, 1):
            self._end(ready)

    def _read(self, connection: socket.socket) -> None:
        """Read on in a request, and start its child once it is whole.

        A caller that is slow, dies within its request or writes nonsense is no one else's matter.
        """
        data = _receive(connection, 1 << 16)
        request = self.requests[connection] + data
        self.requests[connection] = request
        if request.endswith(b"\n"):
            del self.requests[connection]
            self._fork(connection, request)
        elif not data or len(request) > MOST_BYTES:
            del self.requests[connection]
            connection.close()

    def _fork(self, connection: socket.socket, request: bytes) -> None:
        order = _parse(request)
        if order is None:
            connection.close()
            return
        # One that came between the fork and the child's own handlers would act as it does here.
        signal.pthread_sigmask(signal.SIG_BLOCK, child.HELD)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                # When this process is killed, it cannot end its children itself.
                end_with_parent()
                if os.getppid() != server:
                    return
                for inherited in (self.listener, connection, *self.requests, *self.children):
                    inherited.close()
                child.become(**order)
            # A child must never go on as the server, an order with strange keys included.
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, child.HELD)
        # Parent and child both do it: whichever comes first, the group is there before it is
        # needed.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        self.children[connection] = pid
        _tell(connection, {"pid": pid})

    def _reap(self) -> None:
        for connection, pid in list(self.children.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                # The workers of its DataLoader see its end only after seconds, in which they hold
                # the memory of its GPU.
                if os.WIFSIGNALED(status):
                    _kill_group(pid)
                _tell(connection, {"code": os.waitstatus_to_exitcode(status)})
                del self.children[connection]
                connection.close()

    def _end(self, connection: socket.socket) -> None:
        """End a child and its process group: SIGTERM, and SIGKILL after five seconds."""
        pid = self.children.pop(connection)
        deadline = time.monotonic() + 5
        os.killpg(pid, signal.SIGTERM)
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.05)
        _kill_group(pid)
        connection.close()


def _kill_group(leader: int) -> None:
    """End what a child that is gone has left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _parse(request: bytes) -> dict[str, Any] | None:
    """The order in a request, None where it is none."""
    try:
        order = json.loads(request)
    except ValueError:
        return None
    return order if isinstance(order, dict) else None


def _receive(connection: socket.socket, size: int) -> bytes:
    """What was written there; nothing where its owner has gone."""
    try:
        return connection.recv(size)
    except ConnectionError:
        return b""


def _tell(connection: socket.socket, message: dict[str, int]) -> None:
    # The owner may be gone.
    with contextlib.suppress(OSError):
        connection.sendall((json.dumps(message) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.warm.server SOCKET [PARENT]``."""
    open_standard_streams()
    words = sys.argv[1:] if argv is None else argv
    with reported():
        if len(words) not in (1, 2) or not all(map(str.isdecimal, words[1:])):
            raise TopdownError(
                "the socket to listen on is needed, and the parent's process number may follow;"
                f" got {words}"
            )
        os.environ.update(child.BLIND)
        serve(Path(words[0]), parent=int(words[1]) if len(words) > 1 else None)


if __name__ == "__main__":
    main()
