"""Archives: unpacked as data alone, without links or files outside the target; and their damage."""

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


def damage(path: Path) -> str | None:
    """What is wrong with an archive that torch or NumPy has written; None where it is whole.

    Read to its end, at 1 GB/s. A file of torch < 1.6 is no archive, and nothing tells of it.
    """
    with path.open("rb") as stream:
        if stream.read(len(_PICKLED)) == _PICKLED:
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    # Damaged headers end in errors of many kinds.
    except Exception as error:  # noqa: BLE001
        return f"torn: {error}"
    return f"a checksum is wrong: {changed}" if changed else None
