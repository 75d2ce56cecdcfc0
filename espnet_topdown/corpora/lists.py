"""The lines of corpus files as Kaldi's tools see them: bytes of the C locale, held in `str`."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.corpora.disc_names import is_blank, plain
from espnet_topdown.errors import TopdownError

# Bytes above 127 become lone surrogates: neither letters nor blanks, and sorted behind ASCII, as in
# the C locale.
_ENCODING, _ERRORS = "ascii", "surrogateescape"


def read_lines(path: Path) -> list[str]:
    """The lines of `path` without their line ends.

    Raises:
        TopdownError: the file cannot be read.
    """
    try:
        text = path.read_bytes().decode(_ENCODING, _ERRORS)
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    # Not splitlines, which also parts lines at form feeds and the like.
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip("\r") for line in lines]


def numbered_entries(
    path: Path, *, comment: str | tuple[str, ...] = ()
) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines of `path` that are neither blank nor begin with `comment`.

    Raises:
        TopdownError: as `read_lines`.
    """
    for number, line in enumerate(read_lines(path), 1):
        if not (line.startswith(comment) or is_blank(line)):
            yield number, line


def files_below(root: Path, suffix: str) -> Iterator[str]:
    """Paths of the files below `root` whose `plain` name ends in `suffix`.

    Links are followed, and no directory is entered twice. The ``._`` files that macOS leaves beside
    others are passed over.
    """
    entered = set()
    for directory, folders, names in os.walk(root, followlinks=True):
        found = Path(directory).stat()
        if (found.st_dev, found.st_ino) in entered:
            folders.clear()
            continue
        entered.add((found.st_dev, found.st_ino))
        folders.sort()
        for name in sorted(names):
            if plain(name).endswith(suffix) and not name.startswith("._"):
                yield f"{directory}/{name}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace `path` by lines such as `read_lines` gives, and names of files with any letters."""
    files.write_lines(path, lines, errors=_ERRORS)
