"""Files that survive a kill: atomic writes, locks, and fingerprints of what a training reads.

A file written here is either the old or the new one, never half of each. Needs neither torch nor
ESPnet.
"""

import contextlib
import datetime
import fcntl
import glob
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError

# By these words a runner knows that a training gave way to another.
IN_USE = "is in use"
# Of `hashing_once`; None outside of it.
_hashes: ContextVar[dict[Path, str] | None] = ContextVar("hashes", default=None)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`: temporary file beside it, fsync, rename, fsync of the directory."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path whose file replaces `path` when the ``with`` ends well, else is removed.

    Args:
        path: the file to replace.
        durable: whether it must outlast a power cut, not a kill alone; costs a write to disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    _sweep(path)


def sync_directory(directory: Path) -> None:
    """Make renames and links in `directory` outlast a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, data: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in `path`.

    Raises:
        TopdownError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise TopdownError(f"{path} is damaged ({error}); move it away and rerun") from None


def read_object(path: Path, **rules: Must) -> dict[str, Any]:
    """The JSON object in `path`, with a valid value under each key of `rules`.

    Raises:
        TopdownError: as `read_json`; or a key is missing or breaks its rule.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise damaged(path, "object")
    lacking = check.lacking(data, rules)
    if lacking:
        raise damaged(path, ", ".join(lacking))
    return data


def damaged(path: Path, lacks: str) -> TopdownError:
    """The error about a file of ours that lacks what it was written with."""
    return TopdownError(f"{path} is damaged (no valid {lacks}); move it away and rerun")


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target` by a rename, so that the link is never missing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
    _sweep(path)


def _sweep(path: Path) -> None:
    """Remove temporary files that killed processes of this machine left beside `path`."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        # .NAME.PID.tmp
        pid = stale.suffixes[-2][1:]
        if pid.isdigit() and _has_ended(int(pid)):
            stale.unlink(missing_ok=True)


def _has_ended(pid: int) -> bool:
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


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    known = _hashes.get()
    if known is not None and path in known:
        return known[path]
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    if known is not None:
        known[path] = digest
    return digest


@contextlib.contextmanager
def hashing_once() -> Iterator[None]:
    """Within it `sha256` reads a file once: for a step that compares many phases of one base."""
    token = _hashes.set({})
    try:
        yield
    finally:
        _hashes.reset(token)


@contextlib.contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file `path` for the length of a ``with``.

    The kernel lets go of it when the process dies, however it dies.

    Args:
        path: lock file; it also says who holds it.
        purpose: what the holder does, for the message that a second process prints.

    Raises:
        TopdownError: another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened without truncating: until the lock is ours the file names its holder.
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TopdownError(
                f"{path.parent} {IN_USE}: {_holder(path)}. Wait for it, or stop it and rerun"
            ) from None
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": now(), "purpose": purpose}
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps(who))
        stream.flush()
        yield


def holder(path: Path) -> str | None:
    """Who holds the lock file `path`, None when nobody does."""
    if not path.exists():
        return None
    with path.open("r", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
    return None


def _holder(path: Path) -> str:
    """Who wrote the lock file `path`, in words."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']} ({who['purpose']}) since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def now() -> str:
    """The local time with its UTC offset, to the second (ISO 8601)."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lines ``key: old -> new`` for every leaf in which two nested mappings differ."""
    lines = []
    for key in dict.fromkeys([*old, *new]):
        before = old.get(key, "(absent)")
        after = new.get(key, "(absent)")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before} -> {after}")
    return lines
