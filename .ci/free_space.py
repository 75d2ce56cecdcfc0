"""``python3 .ci/free_space.py VENV``: refuse, before anything is downloaded, what would not fit.

By the standard library alone, since nothing else is there yet; ``make install`` calls it.
"""

import shutil
import sys
import tempfile
from pathlib import Path

GB = 10**9
# Of torch with CUDA's libraries, its largest part: measured, with room for newer ones. A torch that
# is there already is kept.
ENVIRONMENT_GB = 7.0
DOWNLOADS_GB = 3.5
RENEWED_GB = 1.0


def main() -> None:
    """End with a message and status 1 where a file system has less room than is needed."""
    venv = Path(sys.argv[1])
    is_there = any(venv.glob("lib/python*/site-packages/torch"))
    # Pip downloads to TMPDIR, and removes that at its end.
    needs = {venv: ENVIRONMENT_GB, Path(tempfile.gettempdir()): DOWNLOADS_GB}
    if is_there:
        needs = dict.fromkeys(needs, RENEWED_GB)
    faults = lacking(needs)
    if faults:
        sys.exit(
            f"{'; '.join(faults)}. Make room, or choose other places: VENV=DIR make install, and"
            " TMPDIR=DIR for downloads (CHECK_SPACE=no: try it all the same)"
        )


def lacking(needs: dict[Path, float]) -> list[str]:
    """A message for every file system that has less room than its places need together.

    Args:
        needs: place -> GB.
    """
    places: dict[int, list[Path]] = {}
    for place in needs:
        places.setdefault(existing(place).stat().st_dev, []).append(place)
    faults = []
    for several in places.values():
        need = sum(needs[place] for place in several)
        free = shutil.disk_usage(existing(several[0])).free / GB
        if free < need:
            names = " and ".join(str(place) for place in several)
            faults.append(f"installing needs {need:.1f} GB in {names}, and {free:.1f} GB are free")
    return faults


def existing(place: Path) -> Path:
    """The place itself or the nearest directory above it that is there."""
    return next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())


if __name__ == "__main__":
    main()
