"""A cascade's header, ``cascade.json``: where its base is, and how its trainings compute."""

from pathlib import Path
from typing import Any

from espnet_topdown import check, files, warm
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.paths import CascadePaths
from espnet_topdown.errors import TopdownError


def read_header(path: Path) -> dict[str, Any]:
    """`base`, its `seed` and, once anything was trained, `threads` and `lstm`.

    Empty before the first run.

    Raises:
        TopdownError: the header is damaged.
    """
    if not path.exists():
        return {}
    header = files.read_object(path, base=check.TEXT)
    rules = {"threads": check.whole(1), "seed": check.whole(0), "lstm": check.TEXT}
    faults = check.faults(header, rules)
    if faults:
        raise TopdownError(f"{path} is damaged ({'; '.join(faults)}); move it away and rerun")
    return header


def fixed_threads(paths: CascadePaths, asked: int | None, default: int, lstm: str) -> int:
    """The threads of every training in a cascade, torch's: those of its first run.

    With others, sums would differ in the last bit, and a resumed phase from an undisturbed one.

    Args:
        paths: of a cascade that is stored already.
        asked: threads that the user asks for; None: whatever the cascade has.
        default: for the first run, where none are asked for.
        lstm: as `fixed_lstm` says; both are written down here.

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
    files.write_json(paths.header, {**header, "threads": threads, "lstm": lstm})
    return threads


def fixed_lstm(paths: CascadePaths) -> str:
    """ESPNET_TOPDOWN_LSTM of every training in a cascade: what its first run had.

    Args:
        paths: of a cascade that is stored already.

    Raises:
        TopdownError: another value is set now; or one that there is not.
    """
    header = read_header(paths.header)
    asked = warm.environment_lstm()
    fixed: str = header.get("lstm", "") if "threads" in header else asked
    if asked not in ("", fixed):
        raise TopdownError(
            f"{warm.LSTM}={asked}: every training in {paths.directory} is without, as its first run"
            " was, since sums differ in the last bit otherwise; unset it, or give another --dir"
            " (--topdown_dir of run.sh)"
        )
    return fixed
