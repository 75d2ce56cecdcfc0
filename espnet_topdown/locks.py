"""Locks on directories: held by the kernel, and by a lease where the kernel's lock does not reach.

A lock file says who holds it, on which host, and when that was last so. Where a file system knows
no flock, or keeps it to each node (BeeGFS and Lustre by default), that lease alone keeps a second
node away. It needs clocks that agree within a minute.

Of several that see a free lock at once, one gets it: each makes a claim first (see `claims`).
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from espnet_topdown.claims import claimed
from espnet_topdown.errors import TopdownError
from espnet_topdown.processes import is_dead, is_of_here, is_this_process, this_process

# By these words a runner knows that a training gave way to another.
IN_USE = "is in use"
BEAT_S = 15
LEASE_S = 120  # a lease that was not renewed for so long is void
POLL_S = 0.2
GLANCE_S = 2  # whoever looks at a lock has it for a moment: longer than that, it is held
_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
_BYTES = 1024  # of a lease, blanks at its end included


class Holder(NamedTuple):
    """Who holds a lock.

    Args:
        name: process, host, purpose and time, as messages tell them.
        since: when it took the lock; None where that is not told.
    """

    name: str
    since: datetime.datetime | None

    def __str__(self) -> str:
        return self.name


_UNNAMED = Holder("another process", None)


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
    _refuse_directory(path)
    # Not truncated: until the lock is ours the file names its holder.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        lease = {**this_process(), "since": now(), "purpose": purpose}
        _take(path, descriptor, lease, waits=waits)
        with _kept_fresh(path, descriptor, lease):
            yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reading(directories: Iterable[Path]) -> Iterator[None]:
    """Keep a recipe's scripts from rewriting these directories, beside other readers.

    The scripts hold DIR/.lock by flock (egs2/TEMPLATE/common.sh). One that writes there now is
    waited for, and told. A directory without such a file is no script's, and is passed over, as is
    one whose file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        for path in [directory / ".lock" for directory in directories]:
            if not path.is_file():
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except PermissionError:
                continue  # of another user
            stack.callback(os.close, descriptor)
            _share(path, descriptor)
        yield


def _share(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{path.parent} is being written by another run; waiting for it", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise


def holder(path: Path) -> Holder | None:
    """Who holds the lock file `path`, None when nobody does."""
    if not path.exists():
        return None
    _refuse_directory(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _other_holder(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise TopdownError(f"{path} is a directory, where a lock file should be; remove it")


def _take(path: Path, descriptor: int, lease: Mapping[str, Any], *, waits: bool) -> None:
    """Write `lease` into the lock file once nobody else holds it.

    Raises:
        TopdownError: somebody does, and this does not wait.
    """
    glance_ends = time.monotonic() + GLANCE_S
    is_told = False
    while True:
        with claimed(path):
            owner = _other_holder(descriptor, fcntl.LOCK_EX)
            if owner is None:
                _write(descriptor, lease)
                return
        if owner == _UNNAMED and time.monotonic() < glance_ends:
            time.sleep(POLL_S / 10)
            continue
        if not waits:
            raise TopdownError(
                f"{path.parent} {IN_USE}: {owner}. Wait for it, or stop it and rerun"
            )
        if not is_told:
            print(f"{path.parent} {IN_USE}: {owner}; waiting for it", file=sys.stderr, flush=True)
            is_told = True
        time.sleep(POLL_S)


def _other_holder(descriptor: int, mode: int) -> Holder | None:
    """Who else holds the file; None where nobody does, and the kernel's lock is then ours."""
    by_kernel = True
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        lease = _read(descriptor)
        # The lease of one that was killed says nothing of who has the kernel's lock now.
        if lease is None or (is_of_here(lease) and is_dead(lease)):
            return _UNNAMED
        return _holder(lease)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        by_kernel = False
    lease = _read(descriptor)
    if lease is None or not _counts(lease, by_kernel=by_kernel):
        return None
    if by_kernel:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    if is_of_here(lease):
        return _holder(lease)
    return _holder(lease, f"; if it is dead, the lock is free {LEASE_S} s after its end")


def _counts(lease: Mapping[str, Any], *, by_kernel: bool) -> bool:
    """Whether a lease keeps others away."""
    is_fresh = time.time() - lease["beat_s"] < LEASE_S
    if not is_of_here(lease):
        return is_fresh
    # On the same machine the kernel knows better, where it knows.
    if by_kernel or is_dead(lease):
        return False
    # A process that is stopped renews no lease, and may go on. One without a start may be another
    # of the same number.
    return is_fresh or lease.get("started") is not None


@contextlib.contextmanager
def _kept_fresh(path: Path, descriptor: int, lease: Mapping[str, Any]) -> Iterator[None]:
    """Renew the lease in a lock file, and void it at the end."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            # A full disk must not end the heart of a training.
            with contextlib.suppress(OSError):
                if _is_ours(descriptor):
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
            if _is_ours(descriptor):
                os.ftruncate(descriptor, 0)


def _is_ours(descriptor: int) -> bool:
    """Whether the lease is still this process's; after two minutes of sleep it may be another's."""
    lease = _read(descriptor)
    return lease is not None and is_this_process(lease)


def _write(descriptor: int, lease: Mapping[str, Any]) -> None:
    """Write in one call and of one length, so that no reader sees half a lease."""
    text = json.dumps({**lease, "beat_s": time.time()})
    os.pwrite(descriptor, text.encode().ljust(_BYTES), 0)
    # Other nodes see what has left this one's cache.
    os.fsync(descriptor)


def _read(descriptor: int) -> dict[str, Any] | None:
    """The lease in a lock file, None where it has none."""
    try:
        lease = json.loads(os.pread(descriptor, _BYTES * 2, 0))
        lease["beat_s"] = float(lease.get("beat_s", 0))
        lease["pid"] = int(lease["pid"])
        _holder(lease)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return lease


def _holder(lease: Mapping[str, Any], more: str = "") -> Holder:
    since = datetime.datetime.fromisoformat(lease["since"]).astimezone()
    name = f"process {lease['pid']} on {lease['host']} ({lease['purpose']}) since {lease['since']}"
    return Holder(f"{name}{more}", since)


def now() -> str:
    """The local time with its UTC offset, to the second (ISO 8601)."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
