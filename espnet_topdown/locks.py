"""Locks on directories: held by the kernel, and by a lease where the kernel's lock does not reach.

A lock file says who holds it, on which host, and when that was last so. Where a file system knows
no flock, or keeps it to each node (BeeGFS and Lustre by default), that lease alone keeps a second
node away. It needs clocks that agree within a minute.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError

# By these words a runner knows that a training gave way to another.
IN_USE = "is in use"
BEAT_S = 15
LEASE_S = 120  # a lease that was not renewed for so long is void
POLL_S = 0.2
_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
_BYTES = 1024  # of a lease, blanks at its end included


@contextlib.contextmanager
def locked(path: Path, purpose: str, *, waits: bool = False) -> Iterator[None]:
    """Hold the lock file `path` for the length of a ``with``.

    It is let go of when the process dies, however it dies: by the kernel at once; where only the
    lease counts, after two minutes.

    Args:
        path: lock file; it also says who holds it.
        purpose: what the holder does, for the message that a second process prints.
        waits: wait for another holder, and say so, instead of refusing.

    Raises:
        TopdownError: another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not truncated: until the lock is ours the file names its holder.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(path, descriptor, waits=waits)
        with _leased(path, descriptor, purpose):
            yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Who holds the lock file `path`, None when nobody does."""
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _other_holder(path, descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _take(path: Path, descriptor: int, *, waits: bool) -> None:
    owner = _other_holder(path, descriptor, fcntl.LOCK_EX)
    if owner is not None and not waits:
        raise TopdownError(f"{path.parent} {IN_USE}: {owner}. Wait for it, or stop it and rerun")
    if owner is not None:
        print(f"{path.parent} {IN_USE}: {owner}; waiting for it", file=sys.stderr, flush=True)
    while owner is not None:
        time.sleep(POLL_S)
        owner = _other_holder(path, descriptor, fcntl.LOCK_EX)


def _other_holder(path: Path, descriptor: int, mode: int) -> str | None:
    """Who else holds the file; None where nobody does, and the kernel's lock is then ours."""
    by_kernel = True
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        lease = _read(descriptor)
        return _words(lease) if lease else "another process"
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        by_kernel = False
    lease = _read(descriptor)
    if lease is None or not _counts(lease, by_kernel=by_kernel):
        return None
    if by_kernel:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    if lease["host"] == socket.gethostname():
        return _words(lease)
    return f"{_words(lease)}; if it is dead, the lock is free {LEASE_S} s after its end"


def _counts(lease: dict[str, Any], *, by_kernel: bool) -> bool:
    """Whether a lease keeps others away."""
    if lease["host"] != socket.gethostname():
        return time.time() - lease["beat_s"] < LEASE_S
    # On the same host the kernel knows better, where it knows.
    return not by_kernel and lease["pid"] != os.getpid() and not has_ended(lease["pid"])


@contextlib.contextmanager
def _leased(path: Path, descriptor: int, purpose: str) -> Iterator[None]:
    """Keep the lease in a lock file fresh, and void it at the end."""
    lease = {"pid": os.getpid(), "host": socket.gethostname(), "since": now(), "purpose": purpose}
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            # A full disk must not end the heart of a training.
            with contextlib.suppress(OSError):
                _write(descriptor, lease)

    _write(descriptor, lease)
    heart = threading.Thread(target=beat, daemon=True, name=f"lease of {path}")
    heart.start()
    try:
        yield
    finally:
        is_over.set()
        # A forked child has no such thread, and no lease to end.
        if os.getpid() == lease["pid"]:
            heart.join()
            os.ftruncate(descriptor, 0)


def _write(descriptor: int, lease: dict[str, Any]) -> None:
    """Write in one call and of one length, so that no reader sees half a lease."""
    text = json.dumps({**lease, "beat_s": time.time()})
    os.pwrite(descriptor, text.encode().ljust(_BYTES), 0)


def _read(descriptor: int) -> dict[str, Any] | None:
    """The lease in a lock file, None where it has none."""
    try:
        lease = json.loads(os.pread(descriptor, _BYTES * 2, 0))
        lease["beat_s"] = float(lease.get("beat_s", 0))
        lease["pid"] = int(lease["pid"])
        _words(lease)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return lease


def _words(lease: dict[str, Any]) -> str:
    return f"process {lease['pid']} on {lease['host']} ({lease['purpose']}) since {lease['since']}"


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or dead and only not yet waited for."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except ProcessLookupError:
        return True
    except (PermissionError, FileNotFoundError):
        # Another user's process, or a system without /proc: taken to be alive.
        return False
    # The state follows the command's name, which may hold spaces and brackets (man proc_pid_stat).
    state = status.rpartition(")")[2].split()[0]
    return state == "Z"


def now() -> str:
    """The local time with its UTC offset, to the second (ISO 8601)."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
