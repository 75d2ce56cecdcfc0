"""Archives: unpacked as data alone, without links or files outside the target; and their damage."""

import errno
import fnmatch
import tarfile
import zipfile
from pathlib import Path

_PICKLED = b"\x80\x02"  # how files of torch < 1.6 begin


def unpack(archive: tarfile.TarFile, target: Path) -> None:
    """Unpack `archive` below `target`.

    Args:
        archive: open for reading.
        target: directory; made where it is missing.

    Raises:
        tarfile.TarError: a member would leave `target`, or is neither a file nor a directory.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(target, filter="data")
        return
    # Python before 3.11.4, as of Debian 12, has no filters.
    for member in archive:
        place = (target / member.name).resolve()
        if not place.is_relative_to(target.resolve()):
            raise tarfile.TarError(f"{member.name} would be written outside {target}")
        if not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is neither a file nor a directory")
    archive.extractall(target)


def damage(path: Path, *, only: str = "*") -> str | None:
    """What is wrong with an archive that torch or NumPy has written; None where it is whole.

    Read to its end, at 1 GB/s. Of a file without checksums nothing but a torn end is told: torch
    writes 0 in the place of each where it is to compute none (``set_crc32_options``). A file of
    torch < 1.6 is no archive, and nothing tells of it.

    Args:
        path: the file.
        only: pattern of the members whose checksums are read.

    Raises:
        OSError: it cannot be read, whole or not.
    """
    with path.open("rb") as stream:
        if stream.read(len(_PICKLED)) == _PICKLED:
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(member.CRC for member in archive.infolist()):
                return None
            if only == "*":
                changed = archive.testzip()
                return f"a checksum is wrong: {changed}" if changed else None
            for name in fnmatch.filter(archive.namelist(), only):
                archive.read(name)
    # Damaged headers end in errors of many kinds, a place before the file's start in this one.
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        return f"torn: {error}"
    return None
