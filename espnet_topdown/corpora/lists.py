"""The lines of corpus files as Kaldi's tools see them.

Bytes of the C locale, carried in `str` without loss.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from espnet_topdown.errors import TopdownError

# Bytes above 127 become lone surrogates: neither letters nor blanks, and sorted behind ASCII, as in
# the C locale.
C_LOCALE = {"encoding": "ascii", "errors": "surrogateescape", "newline": "\n"}


def read_lines(path: Path) -> list[str]:
    """The lines of `path` without their line ends, read at once.

    Raises:
        TopdownError: the file cannot be read.
    """
    try:
        text = path.read_bytes().decode(C_LOCALE["encoding"], C_LOCALE["errors"])
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    lines = text.split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def files_below(root: Path, suffix: str) -> Iterator[str]:
    """Paths of the files below `root` whose name ends in `suffix`, in any case.

    Links are followed.
    """
    for directory, names, files in os.walk(root, followlinks=True):
        names.sort()
        for name in sorted(files):
            if name[-len(suffix) :].lower() == suffix:
                yield f"{directory}/{name}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace `path` by `lines` in one rename."""
    with renamed(path) as temporary, temporary.open("w", **C_LOCALE) as stream:
        stream.writelines(f"{line}\n" for line in lines)


@contextlib.contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well.

    A killed run leaves no half list.

    Unlike ``files.replacing`` it does not wait for the disc: after a power cut the corpus is
    prepared anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
