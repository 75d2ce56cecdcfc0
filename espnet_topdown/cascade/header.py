"""A cascade's header, ``cascade.json``: where its base is, and the threads of its trainings."""

from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.paths import CascadePaths
from espnet_topdown.errors import TopdownError


def read_header(path: Path) -> dict[str, Any]:
    """`base`, its `seed` and, once anything was trained, `threads`; empty before the first run.

    Raises:
        TopdownError: the header is damaged.
    """
    if not path.exists():
        return {}
    header = files.read_object(path, base=check.TEXT)
    faults = check.faults(header, {"threads": check.whole(1), "seed": check.whole(0)})
    if faults:
        raise TopdownError(f"{path} is damaged ({'; '.join(faults)}); move it away and rerun")
    return header


def fixed_threads(paths: CascadePaths, asked: int | None, default: int) -> int:
    """The threads of every training in a cascade, torch's: those of its first run.

    With others, sums would differ in the last bit, and a resumed phase from an undisturbed one.

    Args:
        paths: of a cascade that is stored already.
        asked: threads that the user asks for; None: whatever the cascade has.
        default: for the first run, where none are asked for.

    Raises:
        TopdownError: others are asked for now.
    """
    header = read_header(paths.header)
    # The ledger knows them where the header was lost.
    fixed = header.get("threads") or Ledger(paths.ledger).threads()
    threads = fixed or asked or default
    if asked not in (None, threads):
        raise TopdownError(
            f"--threads {asked}: every training in {paths.directory} has {threads}, fixed"
            " by its first run, since sums differ in the last bit otherwise; leave the option out,"
            " or give another --dir (--topdown_dir of run.sh)"
        )
    files.write_json(paths.header, {**header, "threads": threads})
    return threads
