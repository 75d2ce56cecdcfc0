"""Which process is meant by a line in a file: of this machine or another, alive or gone.

A number alone does not say: numbers are used again, and machines share names.
"""

import contextlib
import hashlib
import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """This process, as files name it."""
    pid = os.getpid()
    host, machine = socket.gethostname(), _machine()
    return {"pid": pid, "host": host, "machine": machine, "started": _started(pid)}


def is_this_process(owner: Mapping[str, Any]) -> bool:
    """Whether what a file names is this process, and not one before it of the same number."""
    own = this_process()
    return all(owner.get(key) == value for key, value in own.items())


def is_of_here(owner: Mapping[str, Any]) -> bool:
    """Whether a process was started on this machine, so that its number says something here."""
    return owner["host"] == socket.gethostname() and owner.get("machine") == _machine()


def is_dead(owner: Mapping[str, Any]) -> bool:
    """Whether a process of this machine has ended; its number may have gone to another."""
    pid = int(owner["pid"])
    return has_ended(pid) or owner.get("started") not in (None, _started(pid))


def open_standard_streams() -> None:
    """Open /dev/null for standard streams that are closed, as daemons and ``>&-`` leave them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or dead and only not yet waited for."""
    try:
        os.kill(pid, 0)
        state = _stat(pid)[0]
    except ProcessLookupError:
        return True
    except (PermissionError, FileNotFoundError):
        # Another user's process, or a system without /proc: taken to be alive.
        return False
    return state == "Z"


@cache
def machine_id() -> str:
    """Eight hexadecimal digits for `is_of_here`: of this machine, boot and space of numbers."""
    text = f"{socket.gethostname()} {_machine()}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the boot; None where that is not told."""
    try:
        return _stat(pid)[19]
    except (OSError, IndexError):
        return None


def _stat(pid: int) -> list[str]:
    """What /proc says of a process, from its state on."""
    status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The state follows the command's name, which may hold spaces and brackets (man proc_pid_stat).
    return status.rpartition(")")[2].split()


def _machine() -> str:
    """This boot and this space of process numbers: virtual machines and containers share names."""
    known = []
    with contextlib.suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(known)
