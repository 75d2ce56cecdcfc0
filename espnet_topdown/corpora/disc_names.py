"""Files of LDC's discs by name, whatever a copy made of their names.

The discs' own names are in upper case with a version (``SI_TR_S.NDX;1``); mounting and copying keep
that, or give ``si_tr_s.ndx``.
"""

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
        self._entries: dict[str, dict[str, str]] = {}
        self._directories: dict[tuple[str, str], str] = {}

    def actual(self, root: str | Path, relative: str) -> str:
        """The path below `root` that has this name in any case; as it is given where none has.

        Args:
            root: a directory, under its actual name.
            relative: path of a file or directory below it, parted by ``/``.
        """
        # Joined as text, and directories remembered: with pathlib a whole corpus takes seconds.
        parent, _, name = relative.rpartition("/")
        directory = self._directory(str(root), parent) if parent else str(root)
        return f"{directory}/{self._entry(directory, name)}"

    def _directory(self, root: str, relative: str) -> str:
        key = (root, relative)
        if key not in self._directories:
            self._directories[key] = self.actual(root, relative)
        return self._directories[key]

    def _entry(self, directory: str, name: str) -> str:
        if directory not in self._entries:
            self._entries[directory] = _list(directory)
        entries = self._entries[directory]
        return entries.get(name) or entries.get(plain(name), name)


def _list(directory: str) -> dict[str, str]:
    """Every entry by its own and its plain name; none where there is no such directory."""
    if not Path(directory).is_dir():
        return {}
    names = sorted(entry.name for entry in os.scandir(directory))
    return {plain(name): name for name in names} | {name: name for name in names}
