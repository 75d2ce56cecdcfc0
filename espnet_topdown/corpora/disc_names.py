"""Files of LDC's discs by name, whatever a copy made of their names.

The discs' own names are in upper case with a version (``SI_TR_S.NDX;1``); mounting and copying keep
that, or give ``si_tr_s.ndx``.
"""

import functools
import os
from pathlib import Path


def plain(name: str) -> str:
    """The name of a file or directory in lower case, without a version."""
    return name.lower().partition(";")[0].rstrip(".")


def is_blank(line: str) -> bool:
    """Whether a line holds blanks alone, or the byte with which DOS programs end a file."""
    return not line.strip(" \t\x1a")


class DiscNames:
    """Looks names up below directories, each of which is listed once."""

    def __init__(self) -> None:
        # Directories are remembered: a corpus has tens of thousands of files in few of them.
        self._entries = functools.cache(_list)
        self._directory = functools.cache(self.actual)

    def actual(self, root: str | Path, relative: str) -> str:
        """The path below `root` that has this name in any case; as it is given where none has.

        Args:
            root: a directory, under its actual name.
            relative: path of a file or directory below it, parted by ``/``.
        """
        # Joined as text: with pathlib a whole corpus takes seconds.
        parent, _, name = relative.rpartition("/")
        directory = self._directory(str(root), parent) if parent else str(root)
        entries = self._entries(directory)
        return f"{directory}/{entries.get(name) or entries.get(plain(name), name)}"


def _list(directory: str) -> dict[str, str]:
    """Every entry by its own and its plain name; none where there is no such directory."""
    if not Path(directory).is_dir():
        return {}
    names = sorted(entry.name for entry in os.scandir(directory))
    return {plain(name): name for name in names} | {name: name for name in names}
