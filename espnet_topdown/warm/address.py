"""Addresses of unix sockets, whose length the kernel limits where that of a path is not."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_BYTES = 107  # sockaddr_un, without the zero at its end
# What Python's processes that share memory append to TMPDIR.
_LISTENER = "/pymp-xxxxxxxx/listener-xxxxxxxx"


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


def with_short_tmpdir(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose TMPDIR is short enough for the sockets of processes that load data.

    Else these die without a word that anybody hears, and who waits for their data waits for ever.
    Python itself takes /tmp from 3.13.4 on.
    """
    longest = MOST_BYTES - len(_LISTENER)
    if len(os.fsencode(environment.get("TMPDIR", ""))) <= longest:
        return dict(environment)
    return {**environment, "TMPDIR": "/tmp"}
