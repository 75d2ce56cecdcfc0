"""The lines of corpus files as Kaldi's tools see them: bytes of the C locale, carried in `str` without loss."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import replacing

# Bytes above 127 become lone surrogates: neither letters nor blanks, and sorted behind ASCII, as in the C locale.
C_LOCALE = {"encoding": "ascii", "errors": "surrogateescape", "newline": "\n"}


def read_lines(path: Path) -> Iterator[str]:
    """The lines of `path` without their line ends.

    Raises:
        TopdownError: the file cannot be read.
    """
    try:
        with path.open(**C_LOCALE) as stream:
            for line in stream:
                yield line.rstrip("\r\n")
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None


def files_below(root: Path, suffix: str) -> Iterator[str]:
    """Paths of the files below `root` whose name ends in `suffix`, in any case; links are followed."""
    for directory, names, files in os.walk(root, followlinks=True):
        names.sort()
        for name in sorted(files):
            if name[-len(suffix) :].lower() == suffix:
                yield f"{directory}/{name}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace `path` by `lines`, atomically."""
    with replacing(path) as temporary, temporary.open("w", **C_LOCALE) as stream:
        stream.writelines(f"{line}\n" for line in lines)
