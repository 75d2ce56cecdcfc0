"""Addresses of unix sockets, whose length the kernel limits where that of a path is not."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 107  # sockaddr_un, without the zero at its end


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """`path` as bind and connect take it: a long one through its directory's descriptor."""
    if len(os.fsencode(path)) <= MOST_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
