"""Archives are unpacked as data alone: nothing is written outside the target, and no links."""

import tarfile
from pathlib import Path


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
