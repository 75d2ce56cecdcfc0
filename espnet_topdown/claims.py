"""A claim: for a moment, one process of all nodes works on a file.

It is a file that one process alone can create: O_EXCL is atomic on every file system of a cluster,
where flock may be missing or known to one node alone.
"""

import contextlib
import errno
import json
import math
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from espnet_topdown.processes import is_dead, is_of_here, this_process

LEFT_S = 120  # a claim is held for milliseconds; one so old is left by a process that died
POLL_S = 0.01
PATIENCE_S = 5  # before it is told


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Be the only process, of all nodes, that reads and writes `path`; others wait."""
    claim = path.with_name(f".{path.name}.claim")
    mine = json.dumps(this_process())
    tell_s = time.monotonic() + PATIENCE_S
    while not _create(claim, mine):
        _remove_left(claim)
        if time.monotonic() > tell_s:
            tell_s = math.inf
            print(
                f"waiting for {claim}, which another process has; if it died, the file is removed"
                f" when it is {LEFT_S} s old",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(POLL_S)
    try:
        yield
    finally:
        claim.unlink(missing_ok=True)


def _create(claim: Path, text: str) -> bool:
    """Create the file; False where it is there."""
    try:
        descriptor = os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    return True


def _remove_left(claim: Path) -> None:
    """Remove the claim of a process that died with it."""
    try:
        made_s = claim.stat().st_mtime
        text = claim.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        # NFS says of a file that another node has just removed that its handle is stale.
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return
    try:
        owner = json.loads(text)
        has_died = is_of_here(owner) and is_dead(owner)
    except (ValueError, KeyError, TypeError):
        has_died = False  # not written yet, or never
    if not has_died and time.time() - made_s < LEFT_S:
        return
    # By a rename: of several that see it, one removes it.
    left = claim.with_name(f"{claim.name}.{socket.gethostname()}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        claim.rename(left)
        left.unlink()
